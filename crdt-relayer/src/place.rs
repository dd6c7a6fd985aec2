//! An op's place in the store: the number of its room above its position in the order of arrival.

use std::ops::Range;

use crdt_core::id::Position;

use crate::row;

/// Position bits in a place; the room's number is above them.
const POSITION_BITS: u32 = 40;

/// The numbers a room may have: a place is positive.
pub(crate) const ROOM_NUMBERS: Range<i64> = 1..1 << (63 - POSITION_BITS);

pub(crate) fn place(room: i64, position: Position) -> i64 {
    (room << POSITION_BITS) | row::int(position.number())
}

/// The first and last place of a room.
pub(crate) fn places(room: i64) -> [i64; 2] {
    let first = room << POSITION_BITS;
    [first, first | ((1 << POSITION_BITS) - 1)]
}

pub(crate) fn position_of(place: i64) -> Position {
    row::position(place & ((1 << POSITION_BITS) - 1))
}
