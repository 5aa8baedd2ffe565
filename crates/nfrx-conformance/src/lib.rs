//! What peers and clients of the old system see, checked fact by fact.
//!
//! Three old peers are played from scripts: a [worker](worker::Worker) that speaks frames of
//! protocol v1 to our server, a [server](server::OldServer) that our agent dials, and a
//! [backend](backend::Backend) that says what a test tells it to. Clients are plain HTTP.
//! [`scene`] reads what was recorded between the old server and its agents.
//!
//! The tests are named after the sections of the two contracts, so that a failing one leads
//! to its fact: `http::s4_4_embeddings` is "4.4 Embeddings" of the HTTP contract,
//! `worker::s5_unknown` is section 5 of the worker protocol. What is not about the wire runs
//! over both carriers: `http::h2` and `http::v1`.
//!
//! # Facts that no longer hold
//!
//! Each of these is what the old system did and ours must not; the number is that of the
//! known defect, or of the decision, that takes its place. Where the new behaviour can be
//! seen from outside, the test of the section shows it.
//!
//! | section | the old fact | instead | why |
//! |---|---|---|---|
//! | HTTP §1.1 | no limit of size or time | 413, 408, 414, 431 | KD-20, KD-21 |
//! | HTTP §1.2 | ids are matched undecoded, none holds a `/` | decoded; a model id is the rest of the path | KD-31 |
//! | HTTP §1.4 | 401 has no `WWW-Authenticate` | it tells a person what to do; the body stays | decision 17 |
//! | HTTP §1.4 | a side without a key serves everybody | this machine only | decision 17 |
//! | HTTP §1.4 | anybody's `X-User-Roles` counts | that of trusted proxies | decision 17 |
//! | HTTP §1.5 | the id is not on the answer, and any text is one | `X-Request-Id` on all; long or unprintable ones are replaced | KD-34 |
//! | HTTP §1.7 | the query is logged; a body is, at `debug` | neither: both may hold secrets | KD-33 |
//! | HTTP §1.8 | workers see the socket drop | close 1001 | KD-62 |
//! | HTTP §2 | `/metrics` is open to all | to loopback and private peers | decision 19 |
//! | HTTP §2 | OpenAPI 3.0.3, without the paths of llm, asr and docling; the page loads its viewer from elsewhere | 3.1, all routes; nothing from elsewhere | KD-35, KD-36, decision 14 |
//! | HTTP §3.2 | the stream is mute for 2 s | head and snapshot at once | KD-28 |
//! | HTTP §3.3 | views run their own script | the page shows text and runs only its own | KD-29 |
//! | HTTP §3.5 | the page keeps the key in a cookie for 30 days | the browser gets a session that no script can read | decision 34 |
//! | HTTP §4.0 | plugin roots are public | clients only | KD-70 |
//! | HTTP §4.1 | no `/completions`; the query is dropped | there is one; it is passed on | KD-69 |
//! | HTTP §4.2 | a body that is no JSON has the model `""` | 400 | decision 12 |
//! | HTTP §4.2 | key names match in any case | exactly | decision 12 |
//! | HTTP §4.2 | half an answer ends well | the connection is aborted | KD-6 |
//! | HTTP §4.2 | a chunk before the headers is a 200 | 502 | HTTP §4.2 itself |
//! | HTTP §4.2 | headers, then an end with an error and no body byte: upstream's status, our body | aborted; of 502 to 504 our 502 or another worker | KD-6, KD-8 |
//! | HTTP §4.2 | a draining worker's 503 is the answer | another worker | KD-8 |
//! | HTTP §4.2 | several `Set-Cookie` in one | dropped on v1, apart on `nfrx.h2` | KD-25 |
//! | HTTP §4.2 | most hop-by-hop headers and a wrong `Content-Length` pass | they don't | KD-68 |
//! | HTTP §4.2 | an event stream whose type has parameters may be stored | none may: engines do send a charset | – |
//! | HTTP §4.3 | polled, newcomers overtake, waits for ever | woken, in order, 5 minutes | KD-2, KD-3, decision 11 |
//! | HTTP §4.3 | an upstream's failure follows queue events raw | as an error event | KD-7 |
//! | HTTP §4.4 | portions are fixed at the start | workers take the next part when free | decision 13 |
//! | HTTP §4.4 | `index` counts from 0 in each part | from the first input | KD-10 |
//! | HTTP §4.4 | numbers are inputs; a string becomes an array; `[]` is `[[]]` | one input passes as it is | KD-11 |
//! | HTTP §4.4 | a part's upstream error is tried on the other workers | a 4xx but 429 is not | KD-67 |
//! | HTTP §4.4 | missing items are `null`; other members are lost | 502; kept | KD-13 |
//! | HTTP §4.4, §5 | busy is 404, of docling 503 in text | 503 `worker_busy` | KD-16 |
//! | HTTP §4.5 | no models are `null` | `[]` | KD-32 |
//! | HTTP §4.6 | an alias on a targeted route waits for ever | it is served | KD-4 |
//! | HTTP §5 | keys and cookies reach workers | never | KD-15 |
//! | HTTP §5 | an error before the headers is 200, empty | 502 | KD-14 |
//! | HTTP §7 | the limit never fires for llm, and kills asr | idle limit with the heartbeat rule | KD-9 |
//! | worker §1 | the login comes after the upgrade | before it, 401 | KD-43 |
//! | worker §1 | roles without a key protect nothing; docling knows none | they do | KD-44, KD-45 |
//! | worker §2 | messages of any size | 1009 | KD-20, decision 6 |
//! | worker §3.1 | no time limit for the first message | 10 s | KD-43 |
//! | worker §3.2 | only heartbeats show life | any message does | KD-37 |
//! | worker §3.6 | `job_chunk` restarts a timer, `job_result` ends a request | ignored | §3.6 allows it |
//! | worker §7 | the evicted are not told | close 1001 | KD-37 |
//! | worker §7 | requests of a lost worker are not tried elsewhere | they are, before their first byte | decision 10 |
//! | worker §7 | the later of two with one id is removed with the earlier | the later stays | KD-22 |
//! | worker §9.1 | the default id is the time of the start | a random one | KD-22 |
//! | worker §9.2 | labels stay when the probe fails; each failed probe says so | withdrawn; said once | KD-48 |
//! | worker §9.3 | `Connection: close`, redirects, proxies | kept connections, neither | KD-23, KD-75 |
//! | worker §9.3 | the agent asks for gzip by itself, and unpacks it | it asks for nothing, and passes what comes | byte for byte |
//! | worker §9.3 | the error's text names the backend | it does not | KD-24 |
//! | worker §9.3 | no limit of concurrency or time in the agent | both | KD-9, KD-66 |
//! | worker §9.4 | waits of 1 s thrice, 5, 15, 30; never reset, no jitter | short ones for longer, so that a restarted server is rejoined within two seconds; both | KD-39 |
//! | worker §9.5 | asr and docling drop their work | they drain | KD-41 |
//!
//! Where a fact needs another stand, its test is there: the request log (HTTP §1.7) with the
//! binary (`nfrx/tests/it/audit.rs`), the agent's own status and metrics ports (worker
//! protocol §9.6 to 9.8) with `nfrx-agent/tests/it/local.rs`, backends (worker protocol §10)
//! with each agent's own tests, the dashboard (HTTP §3.5) in a browser
//! (`tests/node/browser/dashboard.mjs`).
//!
//! Also, an agent of ours says `"models":[]` where the old one said `null`, and no update
//! after its registration when nothing has changed since; both read alike.

pub mod backend;
pub mod scene;
pub mod server;
mod socket;
pub mod worker;

pub use socket::{Heard, Socket, members};
