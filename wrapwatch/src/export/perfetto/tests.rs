use std::collections::BTreeMap;

use prost::Message as _;

use super::messages::{Trace, TrackEvent, Type};
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

/// Where arrows begin and end in what is told of these: whether at a slice or at a mark, and its name.
fn arrows(connections: &[&Connection]) -> [Vec<(bool, String)>; 2] {
    let mut bytes = Vec::new();
    let mut perfetto = Perfetto::new(&mut bytes);
    for connection in connections {
        perfetto.line(&Line::Connection(Box::new((*connection).clone()))).unwrap();
    }
    perfetto.finish().unwrap();
    let events = Trace::decode(&*bytes).unwrap().packet.into_iter().filter_map(|packet| packet.track_event);
    let events: Vec<_> = events.collect();
    let named = |ids: &dyn Fn(&TrackEvent) -> usize| {
        let those = events.iter().filter(|event| ids(event) > 0);
        those
            .map(|event| (event.r#type == Some(Type::SliceBegin as i32), event.name.clone().unwrap()))
            .collect()
    };
    [named(&|event| event.flow_ids.len()), named(&|event| event.terminating_flow_ids.len())]
}

#[test]
fn an_arrow_goes_from_the_slice_that_held_the_thread_to_the_check_of_who_was_queued() {
    let ahead = Connection { conn: 1, service_ns: 100_000_000, ..looked_up_first() };
    let mut behind = Connection { conn: 2, queued_behind: vec![1], ..ahead.clone() };
    behind.accepted_ktime = ahead.accepted_ktime.plus(ahead.service_ns);
    behind.queued_ns = Some(90_000_000);
    let peer = ahead.peer.unwrap().to_string();
    let ends = vec![(true, "check".to_owned())];
    for told in [[&ahead, &behind], [&behind, &ahead]] {
        assert_eq!(arrows(&told), [vec![(true, peer.clone())], ends.clone()]);
    }
    // One that is never told, and a client without a check.
    let mark = vec![(false, format!("holds up {peer}"))];
    assert_eq!(arrows(&[&behind]), [mark.clone(), ends]);
    behind.wrapper_ns = 0;
    assert_eq!(arrows(&[&behind]), [mark, vec![(false, "accepted".to_owned())]]);
}
