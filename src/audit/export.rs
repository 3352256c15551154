//! The log in forms that other tools read: lines of JSON, a table, events of OCSF, and the static tree of C2SP.
//!
//! A form is a function from a record to a line. What a column or an attribute is made of stands in one table a form ([`csv`],
//! [`ocsf`]), from which `docs/audit-export.md` is written too.

pub mod csv;
pub mod ocsf;
pub mod tree;

use serde_json::Value;

/// A form with one line a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each record as it was written: nothing lost, nothing added.
    Jsonl,
    /// A table with a fixed list of columns.
    Csv,
    /// Events of the Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Form {
    /// The line before the first record, if there is one.
    pub fn head(self) -> Option<String> {
        match self {
            Form::Jsonl | Form::Ocsf => None,
            Form::Csv => Some(csv::head()),
        }
    }

    /// Appends the line of one record, with its end.
    pub fn put(self, index: u64, entry: &[u8], line: &mut Vec<u8>) {
        match self {
            Form::Jsonl => {
                line.extend_from_slice(entry);
                line.push(b'\n');
            }
            Form::Csv => line.extend_from_slice(csv::row(index, &parsed(entry)).as_bytes()),
            Form::Ocsf => {
                line.extend_from_slice(ocsf::event(index, &parsed(entry)).to_string().as_bytes());
                line.push(b'\n');
            }
        }
    }
}

fn parsed(entry: &[u8]) -> Value {
    serde_json::from_slice(entry).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the forms, as the manual has them.
    fn manual() -> String {
        let mut text = String::from(include_str!("../../docs/audit-export.md").split_once("<!-- columns -->").unwrap().0);
        text += "<!-- columns -->\n\n| column | from the record |\n|---|---|\n";
        for column in csv::COLUMNS {
            text += &format!("| `{}` | {} |\n", column.name, column.from);
        }
        text += "\n## `--ocsf`\n\n<!-- attributes -->\n\n| attribute | from the record |\n|---|---|\n";
        for row in ocsf::TABLE {
            text += &format!("| `{}` | {} |\n", row.to, row.from);
        }
        let rest = include_str!("../../docs/audit-export.md").split_once("<!-- end -->").unwrap().1;
        text + "\n<!-- end -->" + rest
    }

    #[test]
    fn the_manual_has_every_column_and_attribute() {
        assert_eq!(include_str!("../../docs/audit-export.md"), manual());
    }
}
