//! Tools that become tasks (SEP-2663) for clients that know tasks, and answer at once for
//! others.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock,
    CreateTaskResult, ErrorData,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskContext, TaskExit, TaskOptions};
use serde_json::{Value, json};

use crate::input::{self, ask_form};
use crate::server::{Fixture, wire};
use crate::tools::word;

/// What a job does.
#[derive(Debug, Clone)]
enum Job {
    Compute { seconds: f64, label: String },
    Fail,
    Break,
    Confirm { filename: String },
    AskTwice,
    Greet { name: String },
}

impl Job {
    fn of(request: &CallToolRequestParams) -> Option<Self> {
        let arguments = request.arguments.clone().unwrap_or_default();
        Some(match &*request.name {
            "slow_compute" => Self::Compute {
                seconds: arguments.get("seconds").and_then(Value::as_f64).unwrap_or(1.0),
                label: word(&arguments, "label").to_owned(),
            },
            "failing_job" => Self::Fail,
            "protocol_error_job" => Self::Break,
            "confirm_delete" => Self::Confirm { filename: word(&arguments, "filename").to_owned() },
            "multi_input" => Self::AskTwice,
            // The second of its rounds; the first asks for the name.
            "test_tool_with_task" => {
                Self::Greet { name: input::accepted(request.input_responses.as_ref(), "user_name", "name")? }
            }
            _ => return None,
        })
    }
}

/// Whether a request's client knows tasks.
pub(crate) fn may_start(context: &RequestContext<RoleServer>) -> bool {
    context.client_capabilities().is_some_and(|can| can.supports_tasks())
}

/// The answer, if the request is for one of these tools.
pub(crate) async fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let job = Job::of(request)?;
    if !may_start(context) {
        return Some(at_once(job).await);
    }
    let options = TaskOptions::new().with_poll_interval_ms(100);
    let task = fixture.tasks.spawn(options, |task| Box::pin(run(job, task)));
    Some(Ok(CallToolResponse::Task(CreateTaskResult::new(task))))
}

/// For a client without tasks.
async fn at_once(job: Job) -> Result<CallToolResponse, ErrorData> {
    match job {
        Job::Compute { seconds, label } => {
            tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 5.0))).await;
            Ok(computed(&label).into())
        }
        Job::Break => Err(ErrorData::internal_error("the job broke", None)),
        Job::Fail | Job::Greet { .. } => Err(ErrorData::missing_required_client_capability(
            ClientCapabilities::builder().enable_tasks().build(),
        )),
        Job::Confirm { .. } | Job::AskTwice => Ok(done("Nobody could be asked").into()),
    }
}

/// The work of a task, which stops when it is cancelled.
async fn run(job: Job, task: TaskContext) -> Result<CallToolResult, TaskExit> {
    tokio::select! {
        () = task.cancelled() => Err(TaskExit::Cancelled),
        result = work(job, &task) => result,
    }
}

async fn work(job: Job, task: &TaskContext) -> Result<CallToolResult, TaskExit> {
    match job {
        Job::Compute { seconds, label } => {
            tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 600.0))).await;
            Ok(computed(&label))
        }
        Job::Fail => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(failed())
        }
        Job::Break => Err(TaskExit::Error(ErrorData::internal_error("the job broke", None))),
        Job::Confirm { filename } => {
            let question = ask_form(&format!("Delete {filename}?"), "confirm", "boolean");
            let answer = task.request_input("confirm", wire(question)?).await?;
            let confirmed = answer["action"] == "accept" && answer["content"]["confirm"] == json!(true);
            Ok(done(if confirmed { format!("Deleted {filename}") } else { "Nothing was deleted".to_owned() }))
        }
        Job::AskTwice => {
            let (name, color) = tokio::try_join!(
                task.request_input("name", wire(ask_form("What is your name?", "name", "string"))?),
                task.request_input("color", wire(ask_form("What is your color?", "color", "string"))?),
            )?;
            Ok(done(format!("{} likes {}", name["content"]["name"], color["content"]["color"])))
        }
        Job::Greet { name } => Ok(done(format!("Hello, {name}!"))),
    }
}

fn done(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn computed(label: &str) -> CallToolResult {
    done(format!("Computed {label}"))
}

fn failed() -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text("the job has failed")])
}
