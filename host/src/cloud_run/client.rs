//! The calls of the Cloud Run Admin API v2 that a run makes.

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use wire::api::{Api, ApiError, ErrorKind};

use super::{Execution, Job, Task};

/// Cloud Run in one project and region.
#[derive(Debug, Clone)]
pub struct CloudRun {
    api: Api,
    endpoint: Url,
    location: String,
}

/// What a `:run` call may change of its job.
#[derive(Debug, Clone)]
pub struct Overrides {
    /// Merged over the job's environment by name. Readable by anyone who may view executions.
    pub env: Vec<(String, String)>,
    /// How many tasks.
    pub task_count: u32,
    /// The task timeout in whole seconds; absent = the job's.
    pub timeout_s: Option<u64>,
}

impl CloudRun {
    /// `endpoint`: `https://run.googleapis.com`, or an emulator's.
    pub fn new(api: Api, endpoint: Url, project: &str, region: &str) -> Self {
        let location = format!("projects/{project}/locations/{region}");
        Self {
            api,
            endpoint,
            location,
        }
    }

    /// A job by its short name.
    pub async fn job(&self, job: &str) -> Result<Job, ApiError> {
        let action = format!("cannot read the job `{job}`");
        let path = format!("{}/jobs/{job}", self.location);
        self.get(&action, &path, &[]).await
    }

    /// The same, with all that it says.
    pub async fn definition(&self, job: &str) -> Result<Value, ApiError> {
        let action = format!("cannot read the job `{job}`");
        let path = format!("{}/jobs/{job}", self.location);
        self.get(&action, &path, &[]).await
    }

    /// Every job there is.
    pub async fn jobs(&self) -> Result<Vec<Job>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            jobs: Vec<Job>,
            next_page_token: Option<String>,
        }
        let path = format!("{}/jobs", self.location);
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let query = [("pageSize", "100"), ("pageToken", token.as_str())];
            let used = if token.is_empty() { 1 } else { 2 };
            let page: Page = self
                .get("cannot list the jobs", &path, &query[..used])
                .await?;
            all.extend(page.jobs);
            match page.next_page_token {
                Some(next) if !next.is_empty() => token = next,
                _ => return Ok(all),
            }
        }
    }

    /// Makes a job; one that is there already is no error (its name tells its definition).
    pub async fn create_job(&self, job: &str, definition: &Value) -> Result<(), ApiError> {
        let action = format!("cannot create the job `{job}`");
        let mut url = self.url(&format!("{}/jobs", self.location));
        url.query_pairs_mut().append_pair("jobId", job);
        let call = self
            .api
            .json(&action, Method::POST, url, Some(definition), true);
        match call.await {
            Err(error) if error.kind == ErrorKind::Exists => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Starts an execution. Not idempotent: after an unclear answer the caller looks before it asks again.
    pub async fn run(&self, job: &str, overrides: &Overrides) -> Result<Execution, ApiError> {
        #[derive(Deserialize)]
        struct Operation {
            metadata: Execution,
        }
        let action = format!("cannot start the job `{job}`");
        let url = self.url(&format!("{}/jobs/{job}:run", self.location));
        let body = run_request(overrides);
        let answer = self
            .api
            .json(&action, Method::POST, url, Some(&body), false)
            .await?;
        parse::<Operation>(&action, answer).map(|operation| operation.metadata)
    }

    /// An execution by its full name.
    pub async fn execution(&self, name: &str) -> Result<Execution, ApiError> {
        let action = format!("cannot read the execution `{}`", short(name));
        self.get(&action, name, &[]).await
    }

    /// The newest executions of a job (`-` = of all), newest first, as far back as `since`.
    pub async fn executions_since(
        &self,
        job: &str,
        since: Timestamp,
    ) -> Result<Vec<Execution>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            executions: Vec<Execution>,
            next_page_token: Option<String>,
        }
        let action = format!("cannot list the executions of `{job}`");
        let path = format!("{}/jobs/{job}/executions", self.location);
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let query = [("pageSize", "100"), ("pageToken", token.as_str())];
            let used = if token.is_empty() { 1 } else { 2 };
            let page: Page = self.get(&action, &path, &query[..used]).await?;
            let last = page.executions.last().and_then(|last| last.create_time);
            all.extend(page.executions);
            match page.next_page_token {
                Some(next) if !next.is_empty() && last.is_some_and(|time| time >= since) => {
                    token = next;
                }
                _ => return Ok(all),
            }
        }
    }

    /// Deletes an execution or a job by its full name; one that is gone is no error.
    pub async fn delete(&self, name: &str) -> Result<(), ApiError> {
        let action = format!("cannot delete `{}`", short(name));
        let url = self.url(name);
        match self
            .api
            .json(&action, Method::DELETE, url, None, true)
            .await
        {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// The tasks of an execution.
    pub async fn tasks(&self, execution: &str) -> Result<Vec<Task>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(default)]
            tasks: Vec<Task>,
            next_page_token: Option<String>,
        }
        let action = format!("cannot list the tasks of `{}`", short(execution));
        let path = format!("{execution}/tasks");
        let mut tasks = Vec::new();
        let mut token = String::new();
        loop {
            let query = [("pageSize", "1000"), ("pageToken", token.as_str())];
            let used = if token.is_empty() { 1 } else { 2 };
            let page: Page = self.get(&action, &path, &query[..used]).await?;
            tasks.extend(page.tasks);
            match page.next_page_token {
                Some(next) if !next.is_empty() => token = next,
                _ => return Ok(tasks),
            }
        }
    }

    /// Cancels an execution; one that has ended already is no error.
    pub async fn cancel(&self, execution: &str) -> Result<(), ApiError> {
        let action = format!("cannot cancel the execution `{}`", short(execution));
        let url = self.url(&format!("{execution}:cancel"));
        match self
            .api
            .json(&action, Method::POST, url, Some(&json!({})), true)
            .await
        {
            Err(error) if error.reason.as_deref() == Some("FAILED_PRECONDITION") => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        action: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.api.json(action, Method::GET, url, None, true).await?;
        parse(action, answer)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }
}

fn run_request(overrides: &Overrides) -> Value {
    let env: Vec<Value> = overrides
        .env
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let mut body = json!({ "overrides": {
        "taskCount": overrides.task_count,
        "containerOverrides": [{ "env": env }],
    }});
    if let Some(seconds) = overrides.timeout_s {
        body["overrides"]["timeout"] = json!(format!("{seconds}s"));
    }
    body
}

fn parse<T: DeserializeOwned>(action: &str, answer: Value) -> Result<T, ApiError> {
    serde_json::from_value(answer).map_err(|source| ApiError {
        action: action.to_owned(),
        kind: ErrorKind::Protocol,
        status: None,
        reason: None,
        tries: 1,
        hint: None,
        source: Some(source.into()),
    })
}

/// The last component of a full name.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
