//! The binary's demo: real sockets, one process.

use std::process::Command;

#[test]
fn the_demo_captions_three_pictures_twice() {
    let run = Command::new(env!("CARGO_BIN_EXE_captioner")).arg("demo").output().expect("it starts");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("a night sky: a wide picture of 320 by 200 pixels, dark"), "{said}");
    assert!(said.contains("a snow field, in short: a tall, bright, all white picture"), "{said}");
    assert_eq!(said.lines().count(), 7, "{said}");
}
