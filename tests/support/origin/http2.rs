//! One HTTP/2 connection of the origin: the same script, a stream a request.

use super::script::{Act, End, Pace, Step};
use super::{Request, Shared};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Serves streams until the other side closes the connection.
pub async fn converse(stream: TlsStream<TcpStream>, number: usize, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut streams = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        streams.spawn(exchange(request, respond, number, shared.clone()));
    }
    shared.record_close(number, None);
}

async fn exchange(request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>, number: usize, shared: Arc<Shared>) {
    if request.method() == http::Method::GET && request.uri().path().ends_with("/models") {
        // A health probe is answered beside the script; that it may have gone meanwhile is no matter.
        let _ = respond.send_response(http::Response::new(()), true);
        return;
    }
    let step = shared.next_step();
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    if !step.before_body {
        while let Some(Ok(part)) = incoming.data().await {
            let _ = incoming.flow_control().release_capacity(part.len());
            body.extend_from_slice(&part);
        }
    }
    let authority = head.uri.authority().map(|authority| (":authority".to_owned(), authority.to_string()));
    let headers =
        head.headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let request = Request {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: authority.into_iter().chain(headers).collect(),
        body,
        connection: number,
        http2: true,
    };
    let act = step.act_for(&request);
    shared.record(request);
    let mut written = 0;
    if step.held {
        tokio::select! {
            () = shared.pass_gate() => shared.released(),
            _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return shared.record_close(number, Some(0)),
        }
    }
    if answer(&mut respond, act, &step, &shared, &mut written).await.is_err() {
        shared.record_close(number, Some(written));
    }
    // An unread body keeps its window until here, as an origin that does not read would.
    drop(incoming);
}

/// An error is the other side's giving up the stream.
async fn answer(
    respond: &mut SendResponse<Bytes>,
    act: &Act,
    step: &Step,
    shared: &Shared,
    written: &mut usize,
) -> Result<(), h2::Error> {
    match act {
        Act::Hang => {
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await?;
            Err(Reason::CANCEL.into())
        }
        Act::Close | Act::Reset => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        Act::Raw { .. } | Act::HalfClose | Act::Endless { .. } => panic!("{act:?} is for HTTP/1.1"),
        Act::Whole(body) => {
            let mut stream = respond.send_response(head(step, "application/json"), false)?;
            stream.send_data(Bytes::copy_from_slice(body), true)
        }
        Act::Stream { events, pace, end } => {
            let mut stream = respond.send_response(head(step, "text/event-stream"), false)?;
            for event in events {
                wait_for_turn(&mut stream, *pace, shared).await?;
                stream.send_data(Bytes::copy_from_slice(event), false)?;
                *written += 1;
                if *pace == Pace::Gate {
                    shared.released();
                }
            }
            match end {
                End::Clean => stream.send_data(Bytes::new(), true),
                End::Silence => gone(&mut stream).await,
                End::Reset | End::Truncated => {
                    // A reset overtakes data that has not been written yet.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    stream.send_reset(Reason::INTERNAL_ERROR);
                    Ok(())
                }
            }
        }
    }
}

async fn wait_for_turn(stream: &mut SendStream<Bytes>, pace: Pace, shared: &Shared) -> Result<(), h2::Error> {
    let turn = async {
        match pace {
            Pace::Gate => shared.pass_gate().await,
            Pace::Gap(gap) if gap.is_zero() => {}
            Pace::Gap(gap) => tokio::time::sleep(gap).await,
        }
    };
    tokio::select! {
        biased;
        () = turn => Ok(()),
        gone = gone(stream) => gone,
    }
}

/// Waits until the other side gives up the stream.
async fn gone(stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await?;
    Err(reason.into())
}

fn head(step: &Step, media: &str) -> http::Response<()> {
    let mut response = http::Response::builder().status(step.status);
    if !step.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        response = response.header("content-type", media);
    }
    for (name, value) in &step.headers {
        response = response.header(name, value);
    }
    response.body(()).expect("a scripted head")
}
