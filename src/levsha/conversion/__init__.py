"""Any model of a user as exact integers: opened, proved, lowered, measured."""
