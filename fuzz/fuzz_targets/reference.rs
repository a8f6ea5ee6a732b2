//! An image reference: its canonical text is a fixed point, it travels in a trigger, and its
//! replica, however named, says whose it is.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use protocol::{ImageReference, Naming, TargetRoot, Trigger, Verb};

static ROOTS: LazyLock<[TargetRoot; 2]> = LazyLock::new(|| {
    let root: TargetRoot = "registry.corp:5000/mirror".parse().expect("it is a target");
    [root.clone(), root.with_naming(Naming::Flat)]
});

fuzz_target!(|text: &str| {
    let Ok(source) = text.parse::<ImageReference>() else { return };
    assert_eq!(source.to_string().parse().as_ref(), Ok(&source));

    let namespace = "shop".parse().expect("it is a namespace");
    let trigger = Trigger { verb: Verb::Replica, namespace, source: source.clone() };
    if let Ok(path) = trigger.encode() {
        assert_eq!(Trigger::decode(path.repository.as_str(), path.tag.as_str()), Ok(trigger));
    }
    for root in &*ROOTS {
        let Ok(replica) = root.replica_of(&source) else { continue };
        assert!(root.contains(&replica.reference));
        assert_eq!(root.source_of(&replica.reference).as_ref(), Some(&source));
    }
});
