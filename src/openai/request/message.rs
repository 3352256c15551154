//! Walks the messages of a request: their content in all its shapes, and the calls of tools.

use super::scan::{Read, Scan, Spot, Unfit, add, push_name};
use super::structural::{Place, is_media, is_structural};
use super::{Channel, Role};
use crate::openai::json::{Kind, Leaf};

impl Scan<'_> {
    /// `messages`.
    pub(super) fn messages(&mut self) -> Read {
        if self.reader.kind()? != Kind::Array {
            return Err(Unfit::Member("messages", "must be an array"));
        }
        self.reader.enter_array()?;
        let mut message = 0;
        while self.reader.next_element()? {
            self.message(message)?;
            message += 1;
        }
        Ok(())
    }

    fn message(&mut self, message: usize) -> Read {
        let spot = Spot { role: Role::User, channel: Channel::Content, message };
        if self.reader.kind()? != Kind::Object {
            return self.leaves(spot, None);
        }
        let from = self.prompt.texts.len();
        let mut role = Role::User;
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            self.name(spot, key);
            let kind = self.reader.kind()?;
            let key_text = key.decode();
            match (key_text.as_ref(), kind) {
                ("role", Kind::String) => {
                    let literal = self.reader.string()?;
                    let word = literal.decode();
                    role = Role::named(&word);
                    self.unless_structural(Place::Message, "role", spot.on(Channel::Other), literal);
                }
                ("tool_call_id", Kind::String) => {
                    let literal = self.reader.string()?;
                    self.unless_structural(Place::Message, "tool_call_id", spot.on(Channel::Other), literal);
                }
                ("content", _) => self.content(spot)?,
                ("reasoning" | "reasoning_content" | "refusal", _) => self.content(spot.on(Channel::Reasoning))?,
                ("tool_calls", Kind::Array) => {
                    self.reader.enter_array()?;
                    while self.reader.next_element()? {
                        self.call(spot)?;
                    }
                }
                ("tool_calls" | "function_call", _) => self.call(spot)?,
                ("audio", Kind::Object) => {
                    self.unread("audio");
                    self.leaves(spot.on(Channel::Other), None)?;
                }
                _ => self.leaves(spot.on(Channel::Other), None)?,
            }
        }
        // The role may stand after the content.
        for text in self.prompt.texts.iter_mut().skip(from) {
            text.role = role;
        }
        Ok(())
    }

    /// A string, or an array of parts.
    fn content(&mut self, spot: Spot) -> Read {
        if self.reader.kind()? != Kind::Array {
            return self.part(spot);
        }
        self.reader.enter_array()?;
        while self.reader.next_element()? {
            self.part(spot)?;
        }
        Ok(())
    }

    pub(super) fn part(&mut self, spot: Spot) -> Read {
        if self.reader.kind()? != Kind::Object {
            return self.leaves(spot, None);
        }
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            self.name(spot, key);
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                (_, Kind::Null) => self.reader.null()?,
                ("type", Kind::String) => {
                    let literal = self.reader.string()?;
                    self.unless_structural(Place::Part, "type", spot.on(Channel::Other), literal);
                }
                ("content", _) => self.content(spot)?,
                ("refusal", _) => self.leaves(spot.on(Channel::Reasoning), None)?,
                ("image_url" | "image", _) => self.media(spot, "image")?,
                ("input_audio" | "audio_url" | "audio", _) => self.media(spot, "audio")?,
                ("file" | "video_url" | "video", _) => self.media(spot, "file")?,
                _ => self.leaves(spot, None)?,
            }
        }
        Ok(())
    }

    /// A medium: its bytes cannot be read, what is said about it can.
    fn media(&mut self, spot: Spot, what: &'static str) -> Read {
        self.unread(what);
        let spot = spot.on(Channel::Other);
        let prompt = &mut self.prompt;
        self.reader.walk(|leaf| match leaf {
            Leaf::String(key, literal) => {
                let text = literal.decode();
                let key = key.map(|key| key.decode());
                if !is_media(&text) && !key.is_some_and(|key| is_structural(Place::Media, &key, &text)) {
                    add(prompt, spot, literal, text);
                }
            }
            Leaf::Key(key) => push_name(prompt, spot, key),
            Leaf::Number => {}
        })?;
        Ok(())
    }

    /// An element of `tool_calls`, or a `function_call`; also what stands under `function` or `custom` in the former.
    fn call(&mut self, spot: Spot) -> Read {
        if self.reader.kind()? != Kind::Object {
            return self.leaves(spot, None);
        }
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            self.name(spot, key);
            let kind = self.reader.kind()?;
            let key_text = key.decode();
            match (key_text.as_ref(), kind) {
                ("function" | "custom", Kind::Object) => self.call(spot)?,
                ("arguments", Kind::String) => {
                    let literal = self.reader.string()?;
                    self.push(spot.on(Channel::Arguments), literal);
                }
                ("arguments" | "input", _) => self.leaves(spot, None)?,
                (key, Kind::String) => {
                    let literal = self.reader.string()?;
                    self.unless_structural(Place::ToolCall, key, spot.on(Channel::Other), literal);
                }
                _ => self.leaves(spot.on(Channel::Other), None)?,
            }
        }
        Ok(())
    }
}
