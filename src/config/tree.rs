//! stub
use super::Code;
use std::path::Path;
pub fn read(path: &Path) -> Result<String, (Code, String)> {
    std::fs::read_to_string(path).map_err(|e| (Code::Unreadable, e.to_string()))
}
