"""Google's own Python client, built from its discovery documents, against the APIs that Terraform needs around the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from emulators import PROJECT, REGION
from google.cloud import run_v2
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from recorder import Recorder

Client = Callable[..., Any]
PROJECT_NAME = f"projects/{PROJECT}"


@pytest.fixture
def client(wire: Recorder, credentials: Credentials) -> Client:
    wire.side = "apiclient"

    def make(api: str, version: str, prefix: str) -> Any:
        options = {"api_endpoint": f"{wire.url}{prefix}/"}
        return build(api, version, credentials=credentials, client_options=options, static_discovery=True)

    return make


def change_policy(resource: Any, name: str, read_body: bool = False) -> None:
    """Adds a binding with a condition, as `google_*_iam_member` does; a second one from the old policy is refused."""
    if read_body:
        asked = {"body": {"options": {"requestedPolicyVersion": 3}}}
    else:
        asked = {"options_requestedPolicyVersion": 3}
    policy = resource.getIamPolicy(resource=name, **asked).execute()
    condition = {"title": "t", "expression": "true"}
    binding = {"role": "roles/viewer", "members": ["user:a@example.com"], "condition": condition}
    wanted = policy | {"bindings": [binding], "version": 3}
    changed = resource.setIamPolicy(resource=name, body={"policy": wanted}).execute()
    assert changed["bindings"] == [binding]
    assert resource.getIamPolicy(resource=name, **asked).execute() == changed
    with pytest.raises(HttpError) as refusal:
        resource.setIamPolicy(resource=name, body={"policy": wanted}).execute()
    assert refusal.value.status_code == 409
    asked_for = {"permissions": ["resourcemanager.projects.get"]}
    assert resource.testIamPermissions(resource=name, body=asked_for).execute() == asked_for


def test_the_project_and_its_services(client: Client) -> None:
    projects = client("cloudresourcemanager", "v1", "/crm").projects()
    assert projects.get(projectId=PROJECT).execute()["lifecycleState"] == "ACTIVE"
    change_policy(projects, PROJECT, read_body=True)
    usage = client("serviceusage", "v1", "/su")
    ids = {"serviceIds": ["run.googleapis.com", "storage.googleapis.com"]}
    operation = usage.services().batchEnable(parent=PROJECT_NAME, body=ids).execute()
    assert usage.operations().get(name=operation["name"]).execute()["done"]
    listed = usage.services().list(parent=PROJECT_NAME, filter="state:ENABLED").execute()
    assert [service["config"]["name"] for service in listed["services"]] == ids["serviceIds"]


def test_a_service_account(client: Client) -> None:
    accounts = client("iam", "v1", "/iam").projects().serviceAccounts()
    body = {"accountId": "task-runner", "serviceAccount": {"displayName": "Runner"}}
    made = accounts.create(name=PROJECT_NAME, body=body).execute()
    name = f"{PROJECT_NAME}/serviceAccounts/{made['email']}"
    change_policy(accounts, name)
    patch = {"serviceAccount": {"description": "runs"}, "updateMask": "description"}
    assert accounts.patch(name=name, body=patch).execute()["displayName"] == "Runner"
    assert accounts.list(name=PROJECT_NAME).execute()["accounts"][0]["description"] == "runs"
    accounts.delete(name=name).execute()
    with pytest.raises(HttpError):
        accounts.get(name=name).execute()


def test_a_repository(client: Client) -> None:
    location = client("artifactregistry", "v1", "/ar").projects().locations()
    repositories, parent = location.repositories(), f"{PROJECT_NAME}/locations/{REGION}"
    body = {"format": "DOCKER", "labels": {"app": "a"}}
    operation = repositories.create(parent=parent, repositoryId="images", body=body).execute()
    assert location.operations().get(name=operation["name"]).execute()["response"]["format"] == "DOCKER"
    name = f"{parent}/repositories/images"
    change_policy(repositories, name)
    assert repositories.patch(name=name, body={"description": "d"}, updateMask="description").execute()["labels"]
    assert len(repositories.list(parent=parent).execute()["repositories"]) == 1
    assert repositories.delete(name=name).execute()["done"]


def test_a_secret_by_its_own_path(client: Client) -> None:
    secrets = client("secretmanager", "v1", "/sm").projects().secrets()
    secrets.create(parent=PROJECT_NAME, secretId="around", body={"replication": {"automatic": {}}}).execute()
    name = f"{PROJECT_NAME}/secrets/around"
    change_policy(secrets, name)
    version = secrets.addVersion(parent=name, body={"payload": {"data": "eA=="}}).execute()["name"]
    versions = secrets.versions()
    assert versions.disable(name=version, body={}).execute()["state"] == "DISABLED"
    with pytest.raises(HttpError):
        versions.access(name=version).execute()
    versions.enable(name=version, body={}).execute()
    assert versions.access(name=f"{name}/versions/latest").execute()["payload"]["data"] == "eA=="
    assert versions.destroy(name=version, body={}).execute()["state"] == "DESTROYED"
    assert len(versions.list(parent=name).execute()["versions"]) == 1
    assert secrets.patch(name=name, body={"labels": {"a": "b"}}, updateMask="labels").execute()["labels"] == {"a": "b"}
    secrets.delete(name=name).execute()


def test_a_jobs_policy(client: Client, make_job: Callable[..., str], jobs: run_v2.JobsClient) -> None:
    job = make_job("true")
    change_policy(client("run", "v2", "").projects().locations().jobs(), job)
    assert jobs.get_iam_policy({"resource": job, "options": {"requested_policy_version": 3}}).bindings[0].condition.title == "t"
