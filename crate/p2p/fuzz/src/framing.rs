//! Any bytes as what a peer sends: reading them ends in an error or a message within the limits, which survives
//! writing and reading, and never takes more memory than was sent.

use bytes::Bytes;
use futures::{AsyncRead, executor::block_on, io::Cursor};
use http::{Request, Response};

use super::frame::{
    FrameError, MAX_CHUNK, read_chunk, read_request_head, read_response_head, write_request, write_response,
};

/// The bytes as a request and as an answer, with and without their head's length in front.
pub fn check(data: &[u8]) {
    check_request(data);
    check_response(data);
    // Most lengths that a fuzzer thinks of are wrong.
    if let Ok(length) = u32::try_from(data.len()) {
        let framed = [&length.to_be_bytes(), data, &[0; 4]].concat();
        check_request(&framed);
        check_response(&framed);
    }
}

fn check_request(data: &[u8]) {
    let Ok(request) = block_on(read_request(&mut Cursor::new(data))) else {
        return;
    };
    assert!(request.body().len() <= data.len(), "nothing is made up");
    assert!(
        request.uri().authority().is_none(),
        "a peer names no other server"
    );
    let mut bytes = Cursor::new(Vec::new());
    if let Err(error) = block_on(write_request(&mut bytes, &request)) {
        // Texts can be longer in the form in which they are written.
        assert!(matches!(error, FrameError::HeadTooLong), "{error}");
        return;
    }
    bytes.set_position(0);
    let again = block_on(read_request(&mut bytes)).expect("what was written can be read");
    assert_eq!(request.method(), again.method());
    assert_eq!(request.uri(), again.uri());
    assert_eq!(
        written_headers(request.headers()),
        written_headers(again.headers())
    );
    assert_eq!(request.body(), again.body());
}

fn check_response(data: &[u8]) {
    let Ok(response) = block_on(read_response(&mut Cursor::new(data))) else {
        return;
    };
    assert!(response.body().len() <= data.len(), "nothing is made up");
    let mut bytes = Cursor::new(Vec::new());
    if let Err(error) = block_on(write_response(&mut bytes, &response)) {
        assert!(matches!(error, FrameError::HeadTooLong), "{error}");
        return;
    }
    bytes.set_position(0);
    let again = block_on(read_response(&mut bytes)).expect("what was written can be read");
    assert_eq!(response.status(), again.status());
    assert_eq!(
        written_headers(response.headers()),
        written_headers(again.headers())
    );
    assert_eq!(response.body(), again.body());
}

/// The headers that are written: those whose values are ASCII text.
fn written_headers(headers: &http::HeaderMap) -> Vec<(&str, &str)> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect()
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request<Bytes>, FrameError> {
    let parts = read_request_head(stream).await?;
    Ok(Request::from_parts(parts, read_body(stream).await?))
}

async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> Result<Response<Bytes>, FrameError> {
    let parts = read_response_head(stream).await?;
    Ok(Response::from_parts(parts, read_body(stream).await?))
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, FrameError> {
    let mut body = Vec::new();
    while let Some(chunk) = read_chunk(stream).await? {
        assert!(chunk.len() <= MAX_CHUNK);
        body.extend(chunk);
    }
    Ok(body.into())
}
