//! Draws the curves of `docs/PERFORMANCE.md` from its tables: `cargo run -p crdt-tests --bin curves`
//! writes `docs/performance/*.svg`. A test draws them again and compares.

use std::io;

use crdt_tests::curves;

fn main() -> io::Result<()> {
    let document = std::fs::read_to_string(curves::document())?;
    for curve in curves::all(&document) {
        std::fs::write(curves::folder().join(curve.file), curve.svg())?;
    }
    Ok(())
}
