//! Large bodies, one at a time.

use std::time::Duration;

use anyhow::Result;

use super::{Meter, Snapshot, Times};
use crate::figure::{Figure, Work};
use crate::http::Client;

/// JSON requests that make one upload of 64 MiB.
const JSON_PARTS: u32 = 4;

pub(super) async fn run(figure: &Figure, meter: &Meter<'_>, times: Times) -> Result<(Snapshot, Snapshot)> {
    let (request, _) = figure.request(meter.target, Duration::ZERO);
    let mut client = Client::connect(meter.target.addr).await?;
    let parts = if figure.work == Work::UploadJson { JSON_PARTS } else { 1 };
    let mut transfer = (0, Duration::ZERO);
    meter.tally.borrow_mut().sampling = true;
    let before = meter.snapshot()?;
    for _ in 0..times.repeats * parts {
        let answered = client.ask(&request, |_, piece| meter.saw(piece)).await?;
        meter.answered(&answered);
        // The backend makes a whole answer before its head: that time is not the transfer's.
        let (bytes, took) = if figure.work == Work::Download {
            (answered.total.body_bytes, answered.ended - answered.head)
        } else {
            (request.bytes(), answered.ended - answered.began)
        };
        transfer = (transfer.0 + bytes, transfer.1 + took);
    }
    let after = meter.snapshot()?;
    meter.tally.borrow_mut().samples.transfer = Some(transfer);
    Ok((before, after))
}
