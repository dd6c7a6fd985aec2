//! What came is counted once, by what became of it.

use alloc::vec::Vec;

use super::client::*;
use crate::fixtures::{Author, entry};
use crate::id::Depth;
use crate::rejection::Rejection;

#[test]
fn each_op_that_comes_is_counted_once_and_one_that_waited_once_more_when_it_is_stored() {
    let mut client = Client::new();

    client.say(&sub(0));
    let author = Author::new(1);
    let first = entry(&author, &[], "1");
    let second = author.after(&first, &[], "2");
    let deep = Author::new(2).with(|head| head.depth = Depth::new(9).unwrap());
    client.say(&ops(&[&second]));
    client.say(&ops(&[&second, &first, &first]));
    client.say(&ops(&[&deep, &deep]));
    let forged = ops(&[&entry(&author, &[], "3")]).replace("[3]", "[4]");
    client.say(&forged);
    let tally = client.replica.tally();
    assert_eq!((tally.stored, tally.known, tally.parked), (2, 2, 1));
    assert_eq!(tally.brought, 2, "what waited is brought once, by whoever brought it");
    let rejections: Vec<(&str, u64)> = tally.rejections().collect();
    let codes = [Rejection::Ancestor, Rejection::Data, Rejection::Depth].map(Rejection::code);
    assert_eq!(rejections, codes.map(|code| (code, 1)), "{forged}");
    assert_eq!(client.replica.room_count(), 1);
    assert_eq!(client.replica.op_count(first.head().room), 2);
}
