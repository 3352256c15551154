//! `kt`: an edge gateway for LLM traffic. The journey of a request is told in the library.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let cli = kt::cli::Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,kt=info,pingora_proxy=error")).init();
    std::process::exit(cli.run());
}
