use super::*;

/// What a writer took.
fn csv(columns: &[Column], rows: &[Vec<Cell<'_>>]) -> String {
    #[derive(Clone, Default)]
    struct Shared(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);
    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let out = Shared::default();
    let mut csv = Box::new(Csv::new(columns, out.clone()).unwrap());
    rows.iter().for_each(|row| csv.row(row).unwrap());
    csv.finish().unwrap();
    String::from_utf8(out.0.take()).unwrap()
}

const TEXTS: [Column; 2] = [
    Column { name: "a", kind: Kind::Text, nullable: true, about: "" },
    Column { name: "b", kind: Kind::Text, nullable: true, about: "" },
];

fn text(text: &str) -> Cell<'_> {
    Cell::Text(text.into())
}

#[test]
fn null_and_an_empty_text_are_told_apart() {
    assert_eq!(csv(&TEXTS, &[vec![Cell::Null, text("")], vec![text("x"), Cell::Null]]), "a,b\n,\"\"\nx,\n");
}

#[test]
fn hostile_texts_stay_in_their_field() {
    let hostile = [text("a,b\"c\n1,2"), text("=cmd|' /C calc'!A0")];
    assert_eq!(csv(&TEXTS, &[hostile.to_vec()]), "a,b\n\"a,b\"\"c\\n1,2\",\"'=cmd|' /C calc'!A0\"\n");
    assert_eq!(csv(&TEXTS, &[vec![text("\u{1b}[2J"), text("@x")]]), "a,b\n\"\\u{1b}[2J\",\"'@x\"\n");
}

#[test]
fn the_columns_are_what_they_were() {
    // Whoever changes it sees here what others have to change.
    let mut said = format!("version {SCHEMA_VERSION}\n");
    for table in <Table as strum::VariantArray>::VARIANTS {
        said.push_str(&format!("\n{}: {}\n", table.name(), table.about()));
        for Column { name, kind, nullable, about } in table.columns() {
            let (kind, null): (&str, _) = (kind.into(), if *nullable { ", null" } else { "" });
            assert!(!about.is_empty() && !name.is_empty());
            said.push_str(&format!("  {name} ({kind}{null}): {about}\n"));
        }
    }
    insta::assert_snapshot!(said);
}

#[test]
fn every_table_has_what_joins_them() {
    for table in <Table as strum::VariantArray>::VARIANTS {
        let names: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
        assert_eq!(names[..2], ["host", "recording"], "{table:?}");
        assert!(names.contains(&"conn"), "{table:?}");
        let once: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(once.len(), names.len(), "{table:?}");
    }
}

/// Takes the rows of one table.
struct Taken(std::sync::mpsc::Sender<Vec<String>>);

impl WriteRows for Taken {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.0.send(cells.iter().map(|cell| format!("{cell:?}")).collect()).map_err(io::Error::other)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_request_is_told_from_a_connection() {
    use crate::correlate::tests as lab;
    let told = lab::run_with(&mut lab::correlator(), &lab::scenes::turned_away()).remove(0);
    let (taken, rows) = std::sync::mpsc::channel();
    let mut tables = Tables::default();
    tables.write(Table::Connection, Box::new(Taken(taken)));
    tables.line(&Line::Connection(Box::new(told.clone()))).unwrap();
    tables.line(&Line::Request(Box::new(told))).unwrap();
    let column = Table::Connection.columns().iter().position(|column| column.name == "request").unwrap();
    let said: Vec<String> = rows.try_iter().map(|row| row[column].clone()).collect();
    assert_eq!(said, ["Boolean(false)", "Boolean(true)"]);
}
