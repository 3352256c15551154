//! Texts made up for measuring, as prompts hold them: source code, log lines, JSON, an answer in Markdown.

pub const CODE: &str = r#"
/// Reads the next frame, or tells how many bytes are missing.
pub fn read_frame(buffer: &[u8]) -> Result<Frame<'_>, Missing> {
    let header = buffer.get(..HEADER_LEN).ok_or(Missing(HEADER_LEN - buffer.len()))?;
    let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    if length > MAX_FRAME {
        return Err(Missing::never());
    }
    match header[4] & 0x7f {
        0x00 => Ok(Frame::Data { stream: 1, payload: &buffer[HEADER_LEN..HEADER_LEN + length] }),
        0x01..=0x0f => Ok(Frame::Control(length)),
        _ => Err(Missing(0)),
    }
}

def summarise(rows, key="name", limit=100):
    counts = defaultdict(int)
    for row in rows:
        counts[row[key]] += 1  # the rest is ignored
    return sorted(counts.items(), key=lambda item: -item[1])[:limit]

for (let i = 0; i < items.length; i++) {
  pub const item = items[i], total_price = item.price * (1 + TAX_RATE);
  document.querySelector(`#row-${i} .price`).textContent = total_price.toFixed(2);
}
"#;

pub const LOGS: &str = "\
2026-03-14T09:26:53.589Z INFO  http.server: GET /api/v2/items?page=3&limit=50 200 12ms rid=7f3a9c1e\n\
2026-03-14T09:26:53.602Z DEBUG db.pool: acquired connection 17/32 in 0.43ms (idle=14, waiting=0)\n\
2026-03-14T09:26:53.951Z WARN  cache: miss ratio 0.37 over 1200 lookups, evicted 88 entries of 4096 bytes\n\
2026-03-14T09:26:54.007Z ERROR worker[4121]: job 99120 failed: timeout after 30000 ms at src/worker.rs:212:17\n\
2026-03-14T09:26:54.010Z INFO  worker[4121]: retry 2/5 of job 99120 scheduled in 4s\n";

pub const JSON: &str = "{\"id\":184467,\"name\":\"Widget, large\",\"tags\":[\"blue\",\"metal\",\"2024-edition\"],\"price\":{\"amount\":19.99,\
\"currency\":\"EUR\"},\"dimensions\":[12.5,30,7.25],\"available\":true,\"stock\":{\"warehouse_a\":120,\"warehouse_b\":0},\
\"description\":\"A large widget made of blue metal. Ships within 3 days.\",\"created_at\":1710408413,\"parent\":null}\n";

pub const CHAT: &str = "\
Sure! Here's how to do it:\n\n1. Open **Settings** and choose `Network`.\n2. Set the port to 8080 (the default is 80).\n3. Click \
*Save*, then restart the service with `systemctl restart demo`.\n\n```sh\ncurl -s http://localhost:8080/health | jq .status\n```\n\n\
| version | released | size |\n|---|---|---|\n| 1.4.2 | 2023-11-05 | 14 MB |\n| 1.5.0 | 2024-02-19 | 15 MB |\n\nIf that doesn't work, \
it's probably one of two things: the service isn't running, or another process already uses the port. Let me know which one!\n\n";
