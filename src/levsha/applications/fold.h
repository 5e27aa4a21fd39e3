/* Lower-cases a line in place, length kept: A-Z, and where they are UTF-8 in two bytes, Latin-1, Greek and Cyrillic letters.
   Final sigma becomes sigma. What is no such letter, or no UTF-8, stays. Needs <stdint.h>; levsha/data/fold.py says the same. */
static void chat_fold(uint8_t *text, uint8_t n)
{
    uint8_t lead = 0, c;
    for (; n; --n, lead = c) {
        uint8_t small = 0x20, k;   /* at first, how far the small letter is */
        c = *text++;
        k = (uint8_t)(c - 0x80);
        if ((uint8_t)(c - 'A') <= 25) { /* a capital, even behind half a letter */ }
        else if (lead == 0xC3) { if (k > 0x1E || k == 0x17) continue; }
        else if (lead == 0xD0) { if (k > 0x2F) continue; if (k < 0x10) small = 0x50; }
        else if (lead == 0xCE) { if ((uint8_t)(k - 0x11) > 0x18 || k == 0x22) continue; }
        else if (lead == 0xCF) { if (k != 0x02) continue; small = 1; }
        else continue;
        small = (uint8_t)(small + c);
        if (small >= 0xC0) { small = (uint8_t)(small - 0x40); ++text[-2]; }   /* a carry into the first byte */
        text[-1] = small;
    }
}
