//! The facts of the two contracts, one test or one row of a table each. The crate's own page
//! says how the names are to be read.

#![expect(clippy::duplicate_mod, reason = "the files in `over` are compiled once for each carrier")]

mod agent;
mod http;
mod scenes;
mod worker;
mod world;

/// What must be the same whatever carries the tunnel: the HTTP contract where workers answer.
macro_rules! over {
    ($module:ident, $carrier:ident) => {
        #[path = "over"]
        mod $module {
            mod s4_2_generation;
            mod s4_2_usage;
            mod s4_3_queue;
            mod s4_4_embeddings;
            mod s5_1_asr;
            mod s5_2_docling;

            use nfrx_testkit::relay::Carrier;

            pub(crate) const CARRIER: Carrier = Carrier::$carrier;
        }
    };
}

over!(http_over_h2, H2);
over!(http_over_v1, V1);
