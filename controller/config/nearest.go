package config

import "strings"

// nearest returns the known word that text is most likely meant to be, or
// nothing where none is close.
func nearest(text string, known []string) string {
	if len(text) > 64 {
		return ""
	}
	text = strings.ReplaceAll(strings.ToLower(text), "-", "_")
	best, least := "", 1+max(1, len(text)/3)
	for _, word := range known {
		if n := distance(text, word); n < least {
			best, least = word, n
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes to add, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
