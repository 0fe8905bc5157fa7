//! Sound as a number. A phone plays a sine from a WAV file and records what it hears; Goertzel's algorithm says which
//! share of the recording's power lies at a frequency. A pure sine has share 1, silence and noise have almost none.

use crate::{Error, Result};
use std::path::Path;

pub const RATE: u32 = 8_000;
const FULL: f64 = 12_000.0;
/// Blocks are short enough that a phone's clock drift does not smear the phase, long enough to part 440 from 1000 Hz.
const BLOCK: usize = 800;

#[derive(Clone, Debug, Default)]
pub struct Sound {
    pub rate: u32,
    pub samples: Vec<i16>,
}

/// The `n`th sample of a sine at [`RATE`].
pub fn sine(hertz: f64, n: u32) -> i16 {
    let angle = std::f64::consts::TAU * hertz * f64::from(n) / f64::from(RATE);
    (FULL * angle.sin()) as i16
}

/// Writes `seconds` of a sine: 8 kHz, mono, signed 16 bit.
pub fn write_sine(path: &Path, hertz: f64, seconds: u32) -> Result<()> {
    let count = RATE * seconds;
    let mut out = Vec::with_capacity(44 + 2 * count as usize);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + 2 * count).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes()); // PCM
    out.extend_from_slice(&1u16.to_le_bytes()); // mono
    out.extend_from_slice(&RATE.to_le_bytes());
    out.extend_from_slice(&(2 * RATE).to_le_bytes());
    out.extend_from_slice(&2u16.to_le_bytes());
    out.extend_from_slice(&16u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&(2 * count).to_le_bytes());
    for n in 0..count {
        out.extend_from_slice(&sine(hertz, n).to_le_bytes());
    }
    std::fs::write(path, out).map_err(Error::io(path.display().to_string()))
}

/// Reads mono 16 bit. A recorder that was cut off leaves lengths that are too short or too long; the data counts.
pub fn read(path: &Path) -> Result<Sound> {
    let bytes = std::fs::read(path).map_err(Error::io(path.display().to_string()))?;
    parse(&bytes).ok_or_else(|| Error::Other(format!("{}: not a WAV file", path.display())))
}

fn parse(bytes: &[u8]) -> Option<Sound> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut rate) = (12usize, 0);
    loop {
        let word = bytes.get(at..at + 4)?;
        let length = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        let body = bytes.get(at + 8..)?;
        match word {
            b"fmt " => rate = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?),
            b"data" => {
                let whole = length == 0 || length > body.len();
                let data = if whole { body } else { body.get(..length)? };
                let samples = data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
                return Some(Sound { rate, samples });
            }
            _ => {}
        }
        at = at.checked_add(8)?.checked_add(length)?.checked_add(length % 2)?;
    }
}

impl Sound {
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate.max(1))
    }

    /// The share, 0 to 1, of all power that lies at `hertz`.
    pub fn share(&self, hertz: f64) -> f64 {
        let (mut at, mut all) = (0.0, 0.0);
        for block in self.samples.chunks_exact(BLOCK) {
            let n = block.len() as f64;
            let k = 2.0 * (std::f64::consts::TAU * hertz / f64::from(self.rate.max(1))).cos();
            let (mut s1, mut s2) = (0.0f64, 0.0f64);
            for &sample in block {
                let x = f64::from(sample);
                (s1, s2) = (x + k * s1 - s2, s1);
                all += x * x;
            }
            at += 2.0 * (s1 * s1 + s2 * s2 - k * s1 * s2) / n;
        }
        if all > 0.0 { at / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_is_all_at_its_frequency() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        write_sine(&path, 440.0, 1).unwrap();
        let sound = read(&path).unwrap();
        assert_eq!(sound.samples.len(), RATE as usize);
        assert!(sound.share(440.0) > 0.99);
        assert!(sound.share(1000.0) < 0.01);
    }

    #[test]
    fn foreign_bytes_are_no_sound() {
        assert!(parse(b"RIFF").is_none());
        assert!(parse(b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff").is_none());
        assert_eq!(Sound::default().share(440.0), 0.0);
    }
}
