package report

import (
	"math"
	"strconv"
	"strings"
)

// Format writes v in the unit that reads best, with three digits that count. The units are those of a scenario's figures.
func Format(v float64, unit string) string { return format(v, unit) }

func format(v float64, unit string) string {
	switch unit {
	case "B":
		switch {
		case v < 1000:
			return digits(v) + " B"
		case v < 1e6:
			return digits(v/1e3) + " kB"
		case v >= 1e9:
			return digits(v/1e9) + " GB"
		}
		return digits(v/1e6) + " MB"
	case "/s":
		switch {
		case v >= 999_500:
			return fixed(v/1e6, 2) + "M/s"
		case v >= 10_000:
			return fixed(v/1e3, 0) + "k/s"
		}
		return digits(v) + "/s"
	case "s", "ms", "µs", "ns":
		return duration(v, unit)
	case "":
		return digits(v)
	}
	return digits(v) + " " + unit
}

// duration steps up to the next unit from a thousand on.
func duration(v float64, unit string) string {
	units := []string{"ns", "µs", "ms", "s"}
	i := 0
	for units[i] != unit {
		i++
	}
	for i < len(units)-1 && v >= 999.5 {
		v, i = v/1000, i+1
	}
	return digits(v) + " " + units[i]
}

// digits writes three digits that count, at most two of them after the point, and thousands with commas.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a == math.Trunc(a) && a < 100:
		return fixed(v, 0)
	case a < 9.995:
		return fixed(v, 2)
	case a < 99.95:
		return fixed(v, 1)
	}
	return fixed(v, 0)
}

func fixed(v float64, places int) string {
	s := strconv.FormatFloat(v, 'f', places, 64)
	whole, rest, _ := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + whole + rest
}

// percent writes a share.
func percent(v float64) string {
	if v < 0.01 {
		return "under 1 %"
	}
	return fixed(100*v, 0) + " %"
}
