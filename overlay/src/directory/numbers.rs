//! Long names as short numbers: a peer or a realm that many bindings name is written once, and each of them holds four bytes.

use std::collections::BTreeMap;

pub struct Numbers<T> {
    by_name: BTreeMap<T, u32>,
    /// Each with how often it is named; a free place is named never.
    names: Vec<(T, u32)>,
    free: Vec<u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Numbers<T> {
        Numbers { by_name: BTreeMap::new(), names: Vec::new(), free: Vec::new() }
    }
}

impl<T: Ord + Copy> Numbers<T> {
    /// The number of this name, held once more: give it back with [`Numbers::release`].
    pub fn hold(&mut self, name: T) -> u32 {
        if let Some(number) = self.by_name.get(&name).copied() {
            self.place(number).1 += 1;
            return number;
        }
        let number = match self.free.pop() {
            Some(number) => {
                *self.place(number) = (name, 1);
                number
            }
            None => {
                self.names.push((name, 1));
                u32::try_from(self.names.len() - 1).expect("fewer names than bindings, and these are bounded")
            }
        };
        self.by_name.insert(name, number);
        number
    }

    pub fn release(&mut self, number: u32) {
        let (name, times) = self.place(number);
        *times = times.checked_sub(1).expect("a number is given back as often as it was held");
        if *times == 0 {
            let name = *name;
            let known = self.by_name.remove(&name);
            debug_assert_eq!(known, Some(number), "each name has one number");
            self.free.push(number);
        }
    }

    /// `None`: nobody holds it.
    pub fn of(&self, name: &T) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub fn name(&self, number: u32) -> T {
        self.names.get(number as usize).expect("a number is a place").0
    }

    fn place(&mut self, number: u32) -> &mut (T, u32) {
        self.names.get_mut(number as usize).expect("a number is a place")
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_as_long_as_it_is_held() {
        let mut numbers = Numbers::default();
        let (a, b) = (numbers.hold('a'), numbers.hold('b'));
        assert_eq!((numbers.hold('a'), numbers.name(a), numbers.name(b)), (a, 'a', 'b'));
        numbers.release(a);
        assert_eq!(numbers.of(&'a'), Some(a));
        numbers.release(a);
        assert_eq!(numbers.of(&'a'), None);
        assert_eq!(numbers.hold('c'), a, "a free place is used again");
        numbers.release(a);
        numbers.release(b);
        assert!(numbers.is_empty());
    }
}
