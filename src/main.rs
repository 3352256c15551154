//! `kt`: an edge gateway for LLM traffic. The journey of a request is told in the library.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let cli = kt::cli::Cli::parse();
    kt::cli::logging::start();
    std::process::exit(cli.run());
}
