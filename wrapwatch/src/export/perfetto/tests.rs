use std::collections::BTreeMap;

use prost::Message as _;

use super::messages::{Trace, Type};
use super::*;
use crate::export::support::looked_up_first;

/// Slices by track and name: when they began and ended, in milliseconds from `from`.
fn slices(connection: &Connection) -> BTreeMap<(String, String), (u64, u64)> {
    let mut bytes = Vec::new();
    let mut perfetto = Perfetto::new(&mut bytes);
    perfetto.line(&Line::Connection(Box::new(connection.clone()))).unwrap();
    perfetto.finish().unwrap();
    let ms = |at: u64| (at - connection.accepted_ktime.0) / 1_000_000;
    let (mut tracks, mut open, mut slices) =
        (BTreeMap::new(), BTreeMap::<u64, Vec<_>>::new(), BTreeMap::new());
    for packet in Trace::decode(&*bytes).unwrap().packet {
        if let Some(track) = packet.track_descriptor {
            tracks.insert(track.uuid.unwrap(), track.name.unwrap_or_default());
        }
        let (Some(event), Some(at)) = (packet.track_event, packet.timestamp) else { continue };
        let track = event.track_uuid.unwrap();
        if event.r#type == Some(Type::SliceBegin as i32) {
            open.entry(track).or_default().push((event.name.unwrap(), at));
        } else if event.r#type == Some(Type::SliceEnd as i32) {
            let (name, began) = open.get_mut(&track).unwrap().pop().unwrap();
            slices.insert((tracks[&track].clone(), name), (ms(began), ms(at)));
        }
    }
    assert!(open.into_values().all(|open| open.is_empty()));
    slices
}

#[test]
fn the_check_is_where_it_began() {
    let mut connection = looked_up_first();
    // In a process of its own.
    connection.lookups.iter_mut().for_each(|lookup| lookup.thread = ThreadRole::Checker);
    let names = connection.lookups.iter().map(|lookup| lookup.name.clone().unwrap()).collect::<Vec<_>>();
    let of = |name: String| ("clients 1".to_owned(), name);
    let told = slices(&connection);
    assert_eq!(told[&of("check".to_owned())], (50, 80), "{told:#?}");
    assert_eq!(told[&of(format!("reverse {}", names[0]))], (5, 45));
    assert_eq!(told[&of(format!("forward {}", names[1]))], (50, 80));
    // Without a check they are there as well.
    (connection.check_at_ns, connection.wrapper_ns) = (0, 0);
    let told = slices(&connection);
    assert_eq!(told[&of(format!("reverse {}", names[0]))], (5, 45), "{told:#?}");
    assert_eq!(told[&of(format!("forward {}", names[1]))], (50, 80));
}
