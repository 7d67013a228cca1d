package contender

// The floor sends nothing back: an echo beside a publish would need what no floor has, a queue.
var floorContender = Contender{
	Name:   "floor",
	Path:   "a loop of one write(2) per socket, the frame already built",
	Topics: true, Direct: true,
	New: newFloor,
}
