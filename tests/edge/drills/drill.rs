//! One pass through the table of faults: what is seen of each drill is compared, as a whole, with what the rules say.

use super::table::{Again, Asked, FIRST, Fault, Last, Place, faults};
use crate::support::{Door, Gateway, Origin, Run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// What the spare target says.
const SPARE: &str = "from-spare";

/// How the table is gone through.
#[derive(Clone, Copy)]
pub struct Manner {
    /// The first target is the only one that may be asked.
    pub alone: bool,
    /// `retry_policy.max_retries`
    pub retries: u32,
    /// Over HTTP/2, all on one connection.
    pub http2: bool,
    /// The faults are those of targets behind TLS that speak HTTP/2; for those that can be had there.
    pub upstream_http2: bool,
    pub chain: &'static str,
    /// Further bytes of the prompt.
    pub padding: usize,
}

/// A fault, for a request that asks for a stream or for one that does not.
struct Drill<'a> {
    fault: &'a Fault,
    streamed: bool,
    /// Id of the target, and of the request.
    id: String,
    prompt: String,
    scene: Scene,
}

/// What stands at the target's address for as long as the drill takes.
enum Scene {
    Door(Door),
    Origin(Origin),
    Nothing,
}

/// What a target was asked.
struct Post {
    model: String,
    prompt: String,
    /// The script left the body unread.
    unread: bool,
}

/// Goes through the whole table, and fails with everything that is not as it should be.
pub async fn run(manner: Manner) {
    let faults = faults();
    let spare = Origin::start().await.chats_as_asked(&[SPARE]);
    let mut drills = Vec::new();
    for fault in &faults {
        for streamed in [false, true] {
            if fault.asked == (if streamed { Asked::Plainly } else { Asked::Streamed }) {
                continue;
            }
            drills.extend(Drill::prepare(fault, streamed, drills.len(), manner).await);
        }
    }
    let run = Run::config(config(&drills, &spare, manner)).env("KEY", "key");
    let trusted = drills.iter().filter(|_| manner.upstream_http2).filter_map(Drill::origin);
    let gateway = trusted.fold(run, Run::trusts).start().await;
    let builder = reqwest::Client::builder().no_proxy();
    let client = if manner.http2 { builder.http2_prior_knowledge() } else { builder.http1_only().pool_max_idle_per_host(0) };
    let client = client.build().expect("a client");
    let ran = drills.iter().map(|drill| async {
        let mut seen = json!({"first": drill.ask(&gateway, &client, "").await});
        if drill.fault.parks && !manner.alone {
            seen["later"] = drill.ask(&gateway, &client, "-later").await;
        }
        seen
    });
    let answers: Vec<Value> = futures::future::join_all(ran).await;
    let asked = drills.len() + answers.iter().filter(|seen| seen.get("later").is_some()).count();
    let records = gateway.audit("llm.request.completed", asked).await;
    assert_eq!(records.len(), asked, "one record a request");
    let (mut wrong, spared) = (String::new(), posts(&spare));
    for (drill, mut seen) in drills.iter().zip(answers) {
        let record = records.iter().find(|record| record["request_id"] == drill.id.as_str());
        seen["record"] = record.map(record_of).unwrap_or_default();
        seen["asked"] = drill.requests(&spared);
        let expected = drill.expected(manner);
        let differences = differences("", &expected, &seen);
        if !differences.is_empty() {
            let _ = writeln!(wrong, "\n{} ({}):{differences}", drill.fault.name, drill.id);
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{}", gateway.log());
}

impl<'a> Drill<'a> {
    async fn prepare(fault: &'a Fault, streamed: bool, number: usize, manner: Manner) -> Option<Drill<'a>> {
        let scene = match &fault.place {
            Place::Script(script) if manner.upstream_http2 => {
                let origin = script(Origin::start_tls().await);
                if origin.needs_http1() {
                    return None;
                }
                Scene::Origin(origin)
            }
            _ if manner.upstream_http2 => return None,
            Place::Door(open, _) => Scene::Door(open().await),
            Place::Nowhere => Scene::Nothing,
            Place::Impostor => Scene::Origin(Origin::start_tls().await.chats_as_asked(&[FIRST])),
            Place::Script(script) => Scene::Origin(script(Origin::start().await)),
        };
        let id = format!("f{number}{}", if streamed { "s" } else { "p" });
        let prompt = format!("drill {id} {}", "words and words. ".repeat(manner.padding / 17));
        Some(Drill { fault, streamed, id, prompt, scene })
    }

    fn origin(&self) -> Option<&Origin> {
        match &self.scene {
            Scene::Origin(origin) => Some(origin),
            _ => None,
        }
    }

    fn url(&self) -> String {
        match (&self.fault.place, &self.scene) {
            (Place::Door(_, url), Scene::Door(door)) => url.replace('@', &door.authority()),
            (_, Scene::Origin(origin)) => origin.url(),
            // A label of more than 63 characters is no name: no resolver is asked.
            _ => format!("http://{}.localhost/v1", "a".repeat(64)),
        }
    }

    fn model(&self) -> String {
        format!("m-{}", self.id)
    }

    /// Sends the request; `turn` tells it from another one of the same drill. Returns what its caller sees.
    async fn ask(&self, gateway: &Gateway, client: &reqwest::Client, turn: &str) -> Value {
        let prompt = format!("{}{turn}", self.prompt);
        let mut body = json!({"model": self.model(), "messages": [{"role": "user", "content": prompt}]});
        if self.streamed {
            body["stream"] = true.into();
        }
        let request = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&body);
        let answer = match request.header("x-request-id", format!("{}{turn}", self.id)).send().await {
            Ok(answer) => answer,
            Err(error) => return json!(format!("{error:?}")),
        };
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        let mut seen = json!({
            "status": answer.status().as_u16(),
            "type": header("content-type"),
            "retry-after": header("retry-after"),
            "target": header("x-keeptrusts-target"),
            "model": header("x-keeptrusts-model"),
            "attempts": header("x-keeptrusts-attempts"),
            "failed": header("x-keeptrusts-failed-attempts"),
        });
        let text = match answer.text().await {
            Ok(text) => text,
            Err(error) => return json!(format!("{error:?}")),
        };
        let error: Value = serde_json::from_str(text.trim_start_matches("data: ")).unwrap_or_default();
        seen["code"] = error["error"]["code"].clone();
        seen["said"] = said(&text);
        seen
    }

    /// How often each target got the request, and whether what it got is what was sent.
    fn requests(&self, spared: &[Post]) -> Value {
        let later = format!("{}-later", self.prompt);
        let count = |posts: &[Post], model: &str, prompt: &str| {
            posts.iter().filter(|post| self.fault.unread && post.unread || post.model == model && post.prompt == prompt).count()
        };
        let first = self.origin().map(posts).unwrap_or_default();
        json!({
            "first": first.len(),
            "first, whole": count(&first, &self.model(), &self.prompt),
            "spare": count(spared, "m-spare", &self.prompt),
            "spare, later": count(spared, "m-spare", &later),
        })
    }

    /// What the rules say of this drill.
    fn expected(&self, manner: Manner) -> Value {
        let fault = self.fault;
        let again = match fault.again {
            Again::Soon => true,
            Again::WhenAlone => manner.alone,
            Again::Never => false,
        };
        let healed = fault.heals && again && manner.retries > 0;
        let spared = fault.moves && !manner.alone && !healed;
        let tries = 1 + if again && !healed { manner.retries as usize } else { 0 };
        let mut failed = json!({"target": self.id, "model": self.model()});
        match (fault.status, fault.reason) {
            (Some(status), _) => failed["status"] = status.into(),
            (None, reason) => failed["error"] = reason.into(),
        }
        if let Some(reason) = fault.reason {
            failed["reason"] = reason.into();
        }
        let mut attempts = vec![failed; tries];
        if healed || spared {
            let (target, model) = if healed { (&*self.id, self.model()) } else { ("spare", "m-spare".to_owned()) };
            attempts.push(json!({"target": target, "model": model, "status": 200}));
        }
        let served = &attempts[attempts.len() - 1];
        let reasons = vec![format!("{}={}", self.id, fault.reason.unwrap_or_default()); tries];
        let mut answer = if healed || spared { self.success() } else { self.refusal() };
        answer["target"] = served["target"].clone();
        answer["model"] = served["model"].clone();
        answer["attempts"] = attempts.len().to_string().into();
        answer["failed"] = fault.reason.map(|_| reasons.join(", ")).into();
        let reached = matches!(fault.place, Place::Script(_));
        let posts = if reached { tries + usize::from(healed) } else { 0 };
        let parked = fault.parks && !manner.alone;
        let mut expected = json!({
            "record": {
                "target": served["target"], "attempts": attempts, "fallback": spared, "http_status": answer["status"],
                "outcome": if healed || spared { "success" } else { "error" },
            },
            "asked": {"first": posts, "first, whole": posts, "spare": usize::from(spared), "spare, later": usize::from(parked)},
        });
        if parked {
            let mut later = self.success();
            later["target"] = "spare".into();
            later["model"] = "m-spare".into();
            later["attempts"] = "1".into();
            expected["later"] = later;
        }
        expected["first"] = answer;
        expected
    }

    fn success(&self) -> Value {
        let healed_or_spare = json!({"answers": 1, "done": usize::from(self.streamed)});
        json!({
            "status": 200, "type": if self.streamed { "text/event-stream" } else { "application/json" }, "code": null,
            "retry-after": null, "target": null, "model": null, "attempts": null, "failed": null, "said": healed_or_spare,
        })
    }

    fn refusal(&self) -> Value {
        let (status, code) = match (self.fault.last, self.fault.status) {
            (Last::ItsOwn, Some(status)) => (status, format!("scripted_{status}")),
            (Last::TimedOut, _) => (504, "upstream_timeout".into()),
            _ => (502, "upstream_error".into()),
        };
        json!({
            "status": status, "type": "application/json", "code": code, "retry-after": self.fault.pause, "target": null, "model": null,
            "attempts": null, "failed": null, "said": {"answers": 0, "done": 0},
        })
    }
}

/// Everything a target was asked; each body is read once.
fn posts(origin: &Origin) -> Vec<Post> {
    let posts = origin.requests().into_iter().filter(|request| request.method == "POST");
    let read = posts.map(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Post { model: text(&body["model"]), prompt: text(&body["messages"][0]["content"]), unread: request.body.is_empty() }
    });
    read.collect()
}

/// How many answers of targets a body holds, of whichever target, and how many ends of a stream.
fn said(text: &str) -> Value {
    json!({"answers": text.matches(FIRST).count() + text.matches(SPARE).count(), "done": text.matches("[DONE]").count()})
}

/// Each place where what was seen is not what was expected.
fn differences(path: &str, expected: &Value, seen: &Value) -> String {
    match (expected, seen) {
        (Value::Object(wanted), Value::Object(got)) => {
            let names: BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
            names
                .iter()
                .map(|name| differences(&format!("{path}/{name}"), &expected[name.as_str()], &seen[name.as_str()]))
                .collect()
        }
        _ if expected == seen => String::new(),
        _ => format!("\n  {path}: expected {expected}, saw {seen}"),
    }
}

/// What drills are about in a record.
fn record_of(record: &Value) -> Value {
    let mut attempts = record["attempts"].clone();
    for attempt in attempts.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        attempt.remove("ms");
    }
    json!({
        "target": record["target"], "attempts": attempts, "fallback": record["fallback"] == true, "http_status": record["http_status"],
        "outcome": record["outcome"],
    })
}

fn config(drills: &[Drill<'_>], spare: &Origin, manner: Manner) -> String {
    let target = |id: &str, url: &str, keys: &str| {
        let patience = if keys.contains("timeout_seconds") { "" } else { "timeout_seconds: 20, " };
        let comma = if keys.is_empty() { "" } else { ", " };
        format!(
            "    - {{id: {id}, provider: 'up:chat:m-{id}', base_url: '{url}', secret_key_ref: {{env: KEY}}, {patience}\
             health_probe: {{interval_seconds: 3600}}{comma}{keys}}}\n"
        )
    };
    let targets: String = drills.iter().map(|drill| target(&drill.id, &drill.url(), drill.fault.keys)).collect();
    let fallback = if manner.alone { "enabled: false" } else { "max_fallback_attempts: 1" };
    format!(
        "pack: {{name: drills, version: 1.0.0, enabled: true}}\npolicies:\n  chain: [{}]\nproviders:\n  targets:\n{}{targets}  \
         fallback: {{{fallback}}}\n  retry_policy: {{max_retries: {}, backoff: {{base_ms: 10}}}}\n\
         size_limits: {{max_response_bytes: 1000000}}\n",
        manner.chain,
        target("spare", &spare.url(), ""),
        manner.retries,
    )
}
