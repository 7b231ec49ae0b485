//! Digests that prove an episode: BLAKE3 over its numbers, bit for bit.
//!
//! Every number goes in as its little-endian bytes, in a fixed order, so that a digest is the same on
//! every machine. Whole arrays are laid out in a buffer first: hashing number by number costs more
//! than drawing the picture.

use crate::frame::Frame;
use crate::gbuffer::{FlowField, GBuffer};

/// A running digest.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    hasher: blake3::Hasher,
    bytes: Vec<u8>,
}

impl Digest {
    /// The digest of all that was added so far.
    pub fn value(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// Adds where everything was, what was observed and done, and what came of it.
    pub fn add_frame(&mut self, frame: &Frame) {
        for body in &frame.state.bodies {
            self.put(&body.pose.translation.to_array());
            self.put(&body.pose.rotation.to_array());
            self.put(&body.velocity.to_array());
            self.put(&body.angular_velocity.to_array());
            self.bytes.push(u8::from(body.present));
        }
        for joint in &frame.state.joints {
            self.put(&[joint.position, joint.velocity, joint.effort]);
        }
        for contact in &frame.state.contacts {
            self.bytes.extend(contact.a.to_le_bytes());
            self.bytes.extend(contact.b.to_le_bytes());
            self.put(&contact.point.to_array());
            self.put(&contact.normal.to_array());
            self.put(&[contact.depth_m, contact.normal_force_n]);
            self.put(&contact.friction_force_n.to_array());
        }
        self.put(&frame.observation);
        self.put(&frame.action);
        self.put(&[frame.reward]);
        self.bytes.extend([frame.success, frame.terminated, frame.truncated].map(u8::from));
        self.flush();
    }

    /// Adds the raw pixels of a picture and of its labels.
    pub fn add_pixels(&mut self, pixels: &GBuffer) {
        self.bytes.extend(pixels.width.to_le_bytes());
        self.bytes.extend(pixels.height.to_le_bytes());
        self.bytes.extend(&pixels.colour);
        self.put(&pixels.depth_m);
        self.put(pixels.normal.as_flattened());
        let start = self.grow(2 * pixels.instance.len());
        for (bytes, id) in self.bytes[start..].chunks_exact_mut(2).zip(&pixels.instance) {
            bytes.copy_from_slice(&id.to_le_bytes());
        }
        self.add_flow(&pixels.flow_forward);
        self.add_flow(&pixels.flow_backward);
        self.flush();
    }

    fn add_flow(&mut self, flow: &FlowField) {
        self.put(flow.displacement.as_flattened());
        self.bytes.extend(flow.occluded.iter().map(|&occluded| u8::from(occluded)));
    }

    fn put(&mut self, values: &[f32]) {
        let start = self.grow(4 * values.len());
        for (bytes, value) in self.bytes[start..].chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_bits().to_le_bytes());
        }
    }

    /// Makes room for `count` more bytes; returns where they begin.
    fn grow(&mut self, count: usize) -> usize {
        let start = self.bytes.len();
        self.bytes.resize(start + count, 0);
        start
    }

    fn flush(&mut self) {
        self.hasher.update(&self.bytes);
        self.bytes.clear();
    }
}
