# What the kit promises, with Google played by mocks: terraform test, in this directory.

mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email = "task@my-project.iam.gserviceaccount.com"
      name  = "projects/my-project/serviceAccounts/task@my-project.iam.gserviceaccount.com"
    }
  }
}

variables {
  project       = "my-project"
  images        = { build = "prebuilt" }
  environments  = { default = { image = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } }
  secret_values = {} # an ephemeral variable left to its default makes `apply` runs fail in Terraform 1.11
}

run "nobody_may_run_unless_named" {
  command = plan

  assert {
    condition     = length(google_cloud_run_v2_job_iam_binding.run) == 0 && length(google_storage_bucket_iam_binding.team) == 0 && length(google_project_iam_member.this) == 0
    error_message = "A kit without a team gives rights to somebody."
  }
}

run "a_task_gets_and_creates_and_no_more" {
  command = apply

  assert {
    condition     = google_storage_bucket_iam_binding.tasks_get.role == "roles/storage.legacyObjectReader" && google_storage_bucket_iam_binding.tasks_create.role == "roles/storage.objectCreator"
    error_message = "Tasks have other roles on the bucket than get and create."
  }
  assert {
    condition     = one(google_storage_bucket_iam_binding.tasks_create.condition).expression == "resource.name.startsWith(\"projects/_/buckets/my-project-sortie/objects/runs/\")"
    error_message = "Tasks may create elsewhere than under runs/."
  }
  assert {
    condition     = google_storage_bucket.this.public_access_prevention == "enforced" && google_storage_bucket.this.uniform_bucket_level_access
    error_message = "The bucket could be made public."
  }
}

run "an_input_in_use_never_expires" {
  command = plan

  assert {
    condition     = jsonencode([for rule in google_storage_bucket.this.lifecycle_rule : one(rule.condition).days_since_custom_time if try(contains(one(rule.condition).matches_prefix, "inputs/"), false)]) == "[14]"
    error_message = "inputs/ must have one rule, by days since the last use."
  }
  assert {
    condition     = alltrue([for rule in google_storage_bucket.this.lifecycle_rule : try(one(rule.condition).age, null) == null || one(rule.condition).age == 0 if try(contains(one(rule.condition).matches_prefix, "inputs/"), false)])
    error_message = "A rule by age would delete an input beneath a run."
  }
  assert {
    condition     = !anytrue([for rule in google_storage_bucket.this.lifecycle_rule : try(length(one(rule.condition).matches_prefix) == 0, true) if one(rule.action).type == "Delete"])
    error_message = "A rule without a prefix would delete the team's settings."
  }
}

run "a_task_is_never_started_twice_by_the_platform" {
  command = plan

  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.this : one(one(job.template).template).max_retries == 0])
    error_message = "max_retries is not 0."
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.this : try(length(one(one(one(job.template).template).containers).command), 0) == 0 && try(length(one(one(one(job.template).template).containers).args), 0) == 0])
    error_message = "A command would replace the image's entrypoint."
  }
  assert {
    condition     = alltrue([for job in google_cloud_run_v2_job.this : !job.deletion_protection])
    error_message = "A protected job cannot be replaced when its making has failed."
  }
}

run "the_settings_are_what_the_host_reads" {
  command = apply

  variables {
    secrets = { key = {} }
    environments = {
      default = {
        image   = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        secrets = { API_KEY = "key" }
      }
    }
  }

  assert {
    condition = jsonencode(output.sortie_config) == jsonencode({
      format  = 1
      project = "my-project"
      region  = "us-central1"
      bucket  = "my-project-sortie"
      environments = {
        default = {
          job             = "sortie-default"
          image           = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
          cpu             = "1"
          memory          = "2Gi"
          timeout_seconds = 3600
          secrets         = ["API_KEY"]
        }
      }
    })
    error_message = "sortie_config is another document."
  }
  assert {
    condition     = jsondecode(google_storage_bucket_object.settings.content) == jsondecode(jsonencode(output.sortie_config)) && google_storage_bucket_object.settings.name == "config/sortie.json"
    error_message = "The bucket holds other settings than the output."
  }
  assert {
    condition     = strcontains(output.sortie_toml, "\n[environments.default]\njob = \"sortie-default\"\n") && strcontains(output.sortie_toml, "\nsecrets = [\"API_KEY\"]\n")
    error_message = "sortie_toml says something else."
  }
}

run "the_team_runs_and_a_developer_makes" {
  command = apply

  variables {
    team       = ["group:ml@example.com"]
    developers = ["user:builder@example.com"]
  }

  assert {
    condition     = google_cloud_run_v2_job_iam_binding.run["default"].role == "roles/run.jobsExecutorWithOverrides" && google_cloud_run_v2_job_iam_binding.run["default"].members == toset(["group:ml@example.com", "user:builder@example.com"])
    error_message = "The team cannot run."
  }
  assert {
    condition     = google_cloud_run_v2_job_iam_binding.view["default"].role == "roles/run.viewer"
    error_message = "The team cannot see what it runs."
  }
  assert {
    condition     = sort([for grant in google_project_iam_member.this : "${grant.member} ${grant.role}"]) == sort(["group:ml@example.com roles/serviceusage.serviceUsageConsumer", "user:builder@example.com roles/serviceusage.serviceUsageConsumer", "user:builder@example.com roles/run.developer"])
    error_message = "Somebody has other rights on the project than these."
  }
}

run "nothing_gets_out_but_what_is_listed" {
  command = plan

  variables {
    environments = {
      default = {
        image  = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        egress = true
      }
    }
    egress = { hosts = ["api.anthropic.com"] }
  }

  assert {
    condition     = { for name, rule in google_compute_network_firewall_policy_rule.egress : name => rule.action } == { hosts = "allow", google-apis = "allow", deny-ipv4 = "deny", deny-ipv6 = "deny" }
    error_message = "The firewall has other rules."
  }
  assert {
    condition     = max([for rule in google_compute_network_firewall_policy_rule.egress : rule.priority if rule.action == "allow"]...) < min([for rule in google_compute_network_firewall_policy_rule.egress : rule.priority if rule.action == "deny"]...)
    error_message = "What is allowed must be asked first."
  }
  assert {
    condition     = one(one(one(google_cloud_run_v2_job.this["default"].template).template).vpc_access).egress == "ALL_TRAFFIC"
    error_message = "Some traffic goes around the firewall."
  }
}

run "refuses_pairs_that_google_does_not_have" {
  command = plan
  variables {
    environments = { default = { cpu = "1", memory = "8Gi", image = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } }
  }
  expect_failures = [var.environments]
}

run "refuses_a_tag_that_may_move" {
  command = plan
  variables {
    environments = { default = { image = "us-docker.pkg.dev/my-project/sortie/ours:latest" } }
  }
  expect_failures = [var.environments]
}

run "refuses_our_own_variables" {
  command = plan
  variables {
    environments = { default = { env = { SORTIE_RUN = "x" }, image = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } }
  }
  expect_failures = [var.environments]
}

run "refuses_secrets_that_are_not_listed" {
  command = plan
  variables {
    environments = { default = { secrets = { KEY = "nowhere" }, image = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } }
  }
  expect_failures = [var.environments]
}

run "refuses_a_fence_that_is_not_there" {
  command = plan
  variables {
    environments = { default = { egress = true, image = "us-docker.pkg.dev/my-project/sortie/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } }
  }
  expect_failures = [var.environments]
}

run "refuses_to_forget_runs_before_they_end" {
  command = plan
  variables {
    bucket = { runs_days = 3 }
  }
  expect_failures = [var.bucket]
}

run "refuses_to_build_nothing" {
  command = plan
  variables {
    environments = { default = {} }
  }
  expect_failures = [var.images]
}
