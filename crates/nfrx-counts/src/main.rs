//! The program whose instructions are counted: without an argument it prints a line with
//! name and number of operations for each workload, with a name it runs that one.

#![expect(clippy::print_stdout, reason = "the list is its answer")]

use std::process::ExitCode;

use nfrx_counts::{WORKLOADS, workload};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for workload in WORKLOADS {
            println!("{} {}", workload.name, workload.operations);
        }
        return ExitCode::SUCCESS;
    };
    let Some(workload) = workload(&name) else {
        eprintln!("there is no workload `{name}`");
        return ExitCode::FAILURE;
    };
    workload.run();
    ExitCode::SUCCESS
}
