use super::*;
#[test]
fn dump() {
    println!("{:#}", *schema::SCHEMA);
}
