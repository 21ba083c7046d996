"""Count the ones in a string of bits: "0110" has 2."""
