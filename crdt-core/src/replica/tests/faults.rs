//! Whatever is cut, crashed and delayed.

use core::fmt::Write;

use proptest::prelude::*;

use alloc::format;
use alloc::string::String;

use super::net::*;
use crate::fixtures::room;
use crate::limits;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Cut(usize),
    Link(usize),
    Crash(usize),
    Deliver(usize),
    Wait,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..4_usize).prop_map(Step::Write),
        2 => (1..4_usize).prop_map(Step::Cut),
        3 => (1..4_usize).prop_map(Step::Link),
        2 => (0..4_usize).prop_map(Step::Crash),
        8 => (1..20_usize).prop_map(Step::Deliver),
        2 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is cut, crashed and delayed: nothing durable is lost or doubled, nobody forks, and
    /// once all are connected all hold the same.
    #[test]
    fn all_converge_after_any_faults(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut net = Net::connected(3);
        let mut durable = 0_u64;
        for (number, step) in (0_u64..).zip(&steps) {
            match *step {
                Step::Write(node) => {
                    net.write(node, number);
                    durable += 1;
                }
                Step::Cut(node) => net.cut(node),
                Step::Link(node) => {
                    net.cut(node);
                    net.link(0, node);
                }
                Step::Crash(node) => net.crash(node),
                Step::Deliver(count) => (0..count).for_each(|_| { net.deliver(); }),
                Step::Wait => net.now = net.now.after(limits::HEADS_AFTER),
            }
        }
        for node in 1..4 {
            net.cut(node);
            net.link(0, node);
        }
        net.settle();
        net.assert_converged(durable);
        prop_assert_eq!(net.status(0).equivocations, 0);
        let mut log = String::new();
        for (_, _, op) in net.nodes[0].disk.ops(room(MAIN)) {
            write!(log, "{op}").unwrap();
        }
        for (number, step) in steps.iter().enumerate() {
            let times = log.matches(&format!("{{\"n\":{number}}}")).count();
            prop_assert_eq!(times, usize::from(matches!(step, Step::Write(_))));
        }
    }
}
