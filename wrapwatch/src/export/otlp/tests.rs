use super::*;

#[test]
fn ids_are_of_what_they_name() {
    let at = |second: i64| WallTime(jiff::Timestamp::from_second(second).unwrap());
    let ids = Ids::of("db1", at(7));
    assert_eq!(ids.trace(1), Ids::of("db1", at(7)).trace(1));
    for other in [Ids::of("db2", at(7)).trace(1), Ids::of("db1", at(8)).trace(1), ids.trace(2)] {
        assert_ne!(ids.trace(1), other);
    }
    assert_ne!(ids.span(1, &[]), ids.span(1, &[1]));
    assert_ne!(ids.span(1, &[3, 0]), ids.span(1, &[3, 0, 0]));
    let text = serde_json::to_string(&(ids.trace(1), ids.span(1, &[]))).unwrap();
    assert_eq!(text.len(), r#"["0123456789abcdef0123456789abcdef","0123456789abcdef"]"#.len());
}
