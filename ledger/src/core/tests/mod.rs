mod pair;
mod steps;
