package redisbus

// A lane is a group of channels that live on one server: of sharded channels those with one hash tag, which is one slot,
// otherwise all of them.

// tags are the hash tags of the lanes of sharded channels. Their slots are in the middle of each sixteenth of the slots,
// since masters mostly own ranges. Changing them divides nodes of two versions from each other.
var tags = [16]string{
	"18", "5x", "dj", "3r", "d2", "pv", "uh", "iy", "ly", "h9", "uv", "q6", "9s", "5f", "dt", "ha",
}

// lanes returns what is in front of a subject in the name of its channel, for each lane.
func lanes(o options) []string {
	if !o.sharded {
		return []string{o.prefix}
	}
	fronts := make([]string, len(tags))
	for i, tag := range tags {
		fronts[i] = o.prefix + "{" + tag + "}"
	}
	return fronts
}

// laneOf returns which of n lanes a subject is in, by its FNV-1a hash. All nodes must agree.
func laneOf(subject string, n int) int {
	if n == 1 {
		return 0
	}
	h := uint32(2166136261)
	for i := range len(subject) {
		h = (h ^ uint32(subject[i])) * 16777619
	}
	return int(h % uint32(n))
}
