// The constants of SHA-2 (FIPS 180-4): bits of the roots of the first primes, computed with integers
// so that no table can hold a typing error and no engine's rounding matters.

const MASK = (1n << 64n) - 1n;

/** The integer root: the largest r with r^power <= value. */
function integerRoot(value, power) {
  let low = 0n;
  let high = 1n << 80n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** power <= value) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * The first 64 bits of the fractional parts of the roots of the first primes.
 * @param {number} count how many primes
 * @param {bigint} power 2 for square roots, 3 for cube roots
 * @returns {bigint[]}
 */
export function rootFractions(count, power) {
  const words = [];
  for (let candidate = 2n; words.length < count; candidate += 1n) {
    let prime = true;
    for (let divisor = 2n; divisor * divisor <= candidate; divisor += 1n) {
      if (candidate % divisor === 0n) prime = false;
    }
    if (prime) words.push(integerRoot(candidate << (64n * power), power) & MASK);
  }
  return words;
}
