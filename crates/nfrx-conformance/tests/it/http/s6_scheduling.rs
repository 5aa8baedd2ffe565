//! HTTP contract §6: aliases, and who is picked.

use nfrx_conformance::worker::Worker;
use nfrx_testkit::relay::{Relay, config};
use serde_json::json;

use crate::world::{chat, is_text, relay, while_asking};

#[tokio::test(start_paused = true)]
async fn an_alias_is_the_name_up_to_the_dash_behind_its_colon() {
    for (offered, wanted, serves) in [
        ("llama2:7b-q4_0", "llama2:7b", true),
        ("llama2:7b", "llama2:7b-q4_0", true),
        ("llama2:7b-q4_0", "llama2:7b-fp16", true),
        ("mistral:7b-q5_k_m", "mistral:7b", true),
        ("hf.co/u/m:Q4_K_M", "hf.co/u/m:Q4_K_M-x", true),
        ("a:b:c-d", "a:b:c", true),
        ("llama2-7b-q4_0", "llama2-7b", false),
        ("llama3", "llama3:latest", false),
        ("qwen:7b-", "qwen:7b", false),
        (":7b-x", ":7b", false),
        ("m: 7b-x", "m: 7b", false),
        ("llama2:7b-q4_0", "llama2:13b", false),
        ("llama2:7b-q4_0", "Llama2:7b", false),
    ] {
        let relay = relay();
        let mut worker = Worker::llm(&relay, "a", &[offered], 1).await;
        if serves {
            let (answer, body) = while_asking(&relay, chat(wanted, &json!({})), async {
                let asked = worker.request().await;
                worker.answer(&asked.id, "{}").await;
                asked.body
            })
            .await;
            assert_eq!(answer.status(), 200, "{wanted} at {offered}");
            // The name in the body is the client's.
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["model"], wanted);
        } else {
            is_text(&relay.ask(chat(wanted, &json!({}))).await, 404, "no worker");
        }
    }
}

/// Which of two workers gets a request for `wanted`; each is `(model, slots, busy)`.
async fn picked(
    options: &[(&str, &str)],
    a: (&str, u32, u32),
    b: (&str, u32, u32),
    wanted: &str,
) -> &'static str {
    let relay = Relay::start(config(options));
    let mut kept = tokio::task::JoinSet::new();
    let mut workers = Vec::new();
    for (id, (model, slots, busy)) in [("a", a), ("b", b)] {
        let mut worker = Worker::llm(&relay, id, &[model], slots).await;
        for _ in 0..busy {
            let mut client = relay.client().await;
            let path = format!("/api/llm/id/{id}/v1/chat/completions");
            let ask = crate::world::chat_at(&path, model, &json!({}));
            kept.spawn(async move { drop(client.ask(ask).await) });
            worker.request().await;
        }
        workers.push(worker);
    }
    let [a, b] = &mut workers[..] else { unreachable!("two were made") };
    let asking = relay.ask(chat(wanted, &json!({})));
    tokio::select! {
        _ = a.request() => "a",
        _ = b.request() => "b",
        answer = asking => { is_text(&answer, 404, "no worker"); "none" }
    }
}

#[tokio::test(start_paused = true)]
async fn exact_beats_alias_beats_load_and_only_free_workers_count() {
    for (options, a, b, wanted, expected) in [
        // Exact before alias, even if the alias is idler.
        (&[][..], ("m:7b", 2, 1), ("m:7b-q4", 2, 0), "m:7b", "a"),
        // Without capacity it is out.
        (&[], ("m:7b", 1, 1), ("m:7b-q4", 2, 0), "m:7b", "b"),
        // Among equals the one with the fewest in flight.
        (&[], ("m", 4, 1), ("m", 4, 2), "m", "a"),
        (&[], ("m", 4, 2), ("m", 4, 1), "m", "b"),
        (&[("min_score", "1")], ("m:7b-q4", 1, 0), ("x", 1, 0), "m:7b", "none"),
        (&[("min_score", "0")], ("x", 2, 1), ("y", 2, 0), "m", "b"),
        (&[("min_score", "0.5")], ("m:7b-q4", 1, 0), ("x", 1, 0), "m:7b", "a"),
    ] {
        assert_eq!(picked(options, a, b, wanted).await, expected, "{options:?} {a:?} {b:?} {wanted}");
    }
}
