mod liar;
mod pair;
mod random;
mod steps;
mod trust;
