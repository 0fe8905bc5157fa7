//! CRC32C (Castagnoli, reflected 0x82F63B78), eight bytes a step.

const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 1 == 1 { (c >> 1) ^ 0x82F6_3B78 } else { c >> 1 };
            bit += 1;
        }
        t[0][i] = c;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            t[k][i] = (t[k - 1][i] >> 8) ^ t[0][(t[k - 1][i] & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    t
}

/// CRC over `parts`, one after another.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    !parts.iter().fold(!0, |crc, part| update(crc, part))
}

fn update(mut crc: u32, bytes: &[u8]) -> u32 {
    let mut chunks = bytes.chunks_exact(8);
    for c in &mut chunks {
        let x = u64::from_le_bytes(c.try_into().expect("a chunk of 8")) ^ u64::from(crc);
        crc = (0..8).fold(0, |acc, i| acc ^ TABLES[7 - i][((x >> (8 * i)) & 0xff) as usize]);
    }
    chunks
        .remainder()
        .iter()
        .fold(crc, |crc, b| TABLES[0][((crc ^ u32::from(*b)) & 0xff) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn rfc_3720_appendix_b4() {
        let up: Vec<u8> = (0..32).collect();
        let down: Vec<u8> = (0..32).rev().collect();
        for (bytes, crc) in [
            (&[0u8; 32][..], 0x8A91_36AA),
            (&[0xff; 32], 0x62A8_AB43),
            (&up, 0x46DD_794E),
            (&down, 0x113F_DB5C),
            (b"123456789", 0xE306_9283),
        ] {
            assert_eq!(crc32c(&[bytes]), crc);
            assert_eq!(crc32c(&[&bytes[..5], &bytes[5..]]), crc);
        }
    }
}
