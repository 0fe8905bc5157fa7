//! G.711 µ-law (RTP payload type 0): one byte for a sample, 8,000 samples a second.

/// The RTP payload type (RFC 3551 §6).
pub const PAYLOAD_TYPE: u8 = 0;
/// Added before the logarithm, so that every magnitude has a leading one in its upper eight bits.
const BIAS: i32 = 0x84;
const CLIP: i32 = 32_635;

pub fn encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    // 7 for a leading one in bit 14, 0 in bit 7.
    let exponent = 24 - magnitude.leading_zeros();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

pub fn decode(byte: u8) -> i16 {
    let byte = !byte;
    let (exponent, mantissa) = ((byte >> 4) & 7, i32::from(byte & 0x0f));
    let magnitude = (((mantissa << 3) + BIAS) << exponent) - BIAS;
    (if byte & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}
