//! Noise with one scale for each column.

/// Replaces each element of `noise` by x + sigma * noise, with one sigma for each column. Rows are contiguous.
pub fn add_scaled_noise(x: &[f32], sigma: &[f32], noise: &mut [f32]) {
    for (x, noise) in x.chunks_exact(sigma.len()).zip(noise.chunks_exact_mut(sigma.len())) {
        for ((x, sigma), noise) in x.iter().zip(sigma).zip(noise) {
            *noise = x + sigma * *noise;
        }
    }
}
