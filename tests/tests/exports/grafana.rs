//! The dashboard as Grafana's own types read it (`grafana-foundation-sdk`, made by Grafana of its schemas): nothing in it that they do not know, nothing that is of another type.

use std::collections::BTreeSet;

use serde_json::Value;
use wrapwatch_tests::python;

const DASHBOARD: &str = include_str!("../../../packaging/grafana/wrapwatch.json");

/// What is wrong with a dashboard: fields that its types do not know (they are lost on the way through them), and values that are of another type than theirs.
const CHECK: &str = r#"
import enum, json, sys, types, typing
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
plugins.register_default_plugins()
wrong, seen = [], set()
def lost(given, kept, at):
    if isinstance(given, dict) and isinstance(kept, dict):
        for key in given:
            lost(given[key], kept[key], f"{at}.{key}") if key in kept else wrong.append(f"{at}.{key}: not known")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        [lost(g, k, f"{at}[{n}]") for n, (g, k) in enumerate(zip(given, kept))]
    elif given != kept:
        wrong.append(f"{at}: {given!r} became {kept!r}")
def is_a(value, kind, at):
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind in (typing.Any, object):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(is_a(value, arg, at) for arg in args)
    if origin is typing.Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if origin is list:
        return isinstance(value, list) and all(is_a(v, args[0], at) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(is_a(v, args[1], at) for v in value.values())
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value in [known.value for known in kind]
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
def check(value, at):
    if isinstance(value, list):
        [check(v, f"{at}[{n}]") for n, v in enumerate(value)]
    elif type(value).__module__.startswith("grafana_foundation_sdk.models"):
        seen.add(type(value).__module__.rsplit(".", 1)[1] + "." + type(value).__name__)
        for name, kind in typing.get_type_hints(type(value)).items():
            held = getattr(value, name)
            if held is not None and not is_a(held, kind, at):
                wrong.append(f"{at}.{name}: {held!r} is no {kind}")
            check(held, f"{at}.{name}")
    elif isinstance(value, dict):
        [check(v, f"{at}.{key}") for key, v in value.items()]
given = json.loads(sys.argv[1])
read = Dashboard.from_json(given)
lost(given, json.loads(json.dumps(read, cls=JSONEncoder)), "dashboard")
check(read, "dashboard")
print(json.dumps({"wrong": wrong, "seen": sorted(seen)}))
"#;

/// What is wrong, and which types were met.
fn checked(dashboard: &Value) -> (Vec<String>, BTreeSet<String>) {
    let mut said = python(CHECK, [dashboard.to_string()]).unwrap();
    let mut of = |what: &str| said[what].take();
    (serde_json::from_value(of("wrong")).unwrap(), serde_json::from_value(of("seen")).unwrap())
}

#[test]
fn grafana_knows_all_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (wrong, seen) = checked(&dashboard);
    assert_eq!(wrong, [""; 0]);
    // Down to what a panel draws and asks.
    for kind in [
        "dashboard.Panel",
        "timeseries.Options",
        "stat.Options",
        "prometheus.Dataquery",
        "dashboard.VariableModel",
    ] {
        assert!(seen.contains(kind), "{kind} in {seen:?}");
    }
    // It does find what is wrong.
    for (at, to, said) in [
        ("/panels/0/gridPos/w", Value::from("4"), "grid_pos.w: '4' is no"),
        ("/panels/0/fieldConfig/defaults/thresholds/mode", "relative".into(), "mode: 'relative' is no"),
        (
            "/panels/0/targets/0",
            serde_json::json!({ "expression": "up", "refId": "A" }),
            "expression: not known",
        ),
        ("/templating/list/0/type", "magic".into(), "'magic' is no"),
        ("/time", serde_json::json!({ "since": "now-1h" }), "time.since: not known"),
    ] {
        let mut changed = dashboard.clone();
        *changed.pointer_mut(at).unwrap() = to;
        let (wrong, _) = checked(&changed);
        assert!(wrong.iter().any(|wrong| wrong.contains(said)), "{at}: {wrong:?}");
    }
}
