mod pair;
mod random;
mod steps;
