//! Any sizes, likings and failures: every element once and in order, or a reason.

use super::*;

fn next() -> impl Strategy<Value = Next> {
    prop_oneof![
        12 => (0_u8..5).prop_map(Next::Echo),
        1 => prop_oneof![Just(500), Just(502), Just(429)].prop_map(Next::Status),
        1 => Just(Next::Status(400)),
        1 => Just(Next::Short),
        1 => Just(Next::Breaks),
        1 => prop_oneof![
            Just(CallError::Lost),
            Just(CallError::Draining),
            Just(CallError::Busy),
            Just(CallError::Unreachable),
            Just(CallError::Upstream),
        ]
        .prop_map(Next::Fails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_element_comes_once_and_in_order_or_there_is_a_reason(
        size in 1_usize..120,
        parallel_max in 0_usize..9,
        workers in prop::collection::vec((0_u32..20, 1_u32..4, prop::collection::vec(next(), 0..12)), 1..5),
    ) {
        let names = ["a", "b", "c", "d"];
        let described: Vec<String> =
            names.iter().zip(&workers).map(|(id, (batch, slots, _))| format!("{id}:{batch}/{slots}")).collect();
        let world = World::new(&described.join(" "));
        for (id, (_, _, next)) in names.iter().zip(&workers) {
            world.will(id, next);
        }
        match world.outcome(size, parallel_max) {
            Ok((200, body)) if body.starts_with("whole ") || body == "-" => {}
            Ok((0, _)) => {}
            Ok((200, body)) => prop_assert_eq!(body, super::numbers(0..size)),
            Ok((status, body)) => prop_assert!(status >= 400 && body == "because", "{} {}", status, body),
            Err(_) => {}
        }
        prop_assert_eq!((world.in_flight(), world.open(), world.bench.pool.queue_len()), (0, 0, 0));
        for (id, (_, slots, _)) in names.iter().zip(&workers) {
            // Seen to fail: when a chunk's slot is given back before its answer was read.
            prop_assert!(world.workers[*id].1.most() <= *slots);
        }
    }
}
