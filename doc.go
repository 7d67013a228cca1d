// Package wshub pushes live data to many WebSocket clients: chat, dashboards, tickers, games, notifications.
//
// A [Hub] accepts clients as sessions and holds typed topics. A [SessionFunc] serves each session in a goroutine of
// its own and ranges over its messages; a [Topic] is published to with one append, whatever the number of its members.
// A slow client is a cursor that lags, and a [Policy] is the rule for how a lagging cursor moves. Nothing needs
// starting, and an idle hub without a bus has no goroutine.
//
//	ticks, err := wshub.NewTopic(hub, "ticks", wshub.Coalesce(), wshub.KeyBy(Tick.Key))
//	if err != nil {
//		return err
//	}
//	rooms, err := wshub.NewFamily[Chat](hub, "room", wshub.Policy{})
//	if err != nil {
//		return err
//	}
//	http.Handle("/ws", hub.Handler(func(ctx context.Context, s *wshub.Session) error {
//		// this session: at most 20 flushes a second, each the latest of what changed
//		if err := ticks.With(wshub.FlushEvery(50*time.Millisecond)).Join(ctx, s); err != nil {
//			return err
//		}
//		for msg := range s.Messages() { // a plain <-chan Message
//			var c Chat
//			if err := msg.Decode(&c); err != nil {
//				return err // closes 1007
//			}
//			room, err := rooms.Topic(c.Room)
//			if err != nil {
//				return err // closes 1008
//			}
//			if err := room.Except(s).Publish(ctx, c); err != nil {
//				return err
//			}
//		}
//		return nil // closes 1000
//	}))
//
// # Which call when
//
// To reach the members of a topic use [Topic.Publish]; some of them, [Topic.Except] and [Topic.Only]; all sessions,
// [Hub.Everyone]; those of a user, [Hub.User]; one, [Session.Send] or, by its id, [Hub.To]. To kick use
// [Audience.Close], to close politely [Session.Close].
//
// To serve requests by name use a [Mux] with [Handle] and [Reply]; to take messages one by one without it, [Each] or
// a range over [Session.Messages]; for sessions that only listen, [Session.CloseRead].
//
// To read a topic inside the process use [Topic.Stream]; to shape what comes, [Map], [Filter], [Batch], [Debounce],
// [Throttle] and [Merge]; to put a policy over any channel, [Apply]. To know what a topic holds use [Topic.Snapshot];
// who is in it, [Topic.Present] or, with changes, [Topic.Watch]. To hear of sessions that come and go range over
// [Hub.Events] or be called by an [Observer].
//
// To have several nodes give each hub a bus: [WithBus].
//
// To stop for a deploy call [Hub.Drain] and then [Hub.Shutdown]; to stop at once, Shutdown alone.
//
// # Guarantees
//
// Order. Let P and Q be calls that publish or send, and P return before Q begins. A session that is offered both
// values, and is sent both, is sent P's first: within a topic (of keyed values under [Coalesce]: of the same key),
// across topics, and between topics and direct messages, all of it for calls on the session's own node. A value that [Rate] or [FlushEvery] holds back takes its place
// when it is released. A policy skips or delays; it never repeats.
//
// Read your writes. A session is offered every value of a topic whose publish begins after Join has returned, and every
// message to everyone whose Send begins after Accept has returned, or with [WithAdmission] after it was admitted.
// Nothing of a topic is sent to a session after Leave has returned, except the rest of a frame that was begun.
//
// Accounting. For each subscription, at any time, and for their sums by topic, family and hub, offered = sent +
// coalesced + dropped + filtered + evicted + undelivered + pending. Offered counts each value appended while it was a
// member, and replays; sent those whose last byte the kernel, or the channel, has taken; [Tally] says what the others
// are.
//
// Slow clients. A client that does not read slows no other client, and no publisher beyond what [Block] asks for, or a
// full log within the grace of its members.
//
// Ownership. Bytes passed in are not retained after the call; bytes of messages handed out belong to the receiver.
// Values of streams, and those that filters see, are shared: what they point to must not change after Publish, bytes
// included. The hub makes, sends on and closes every channel that it hands out.
//
// Sessions. Messages that arrived before the client's close are delivered before [Session.Messages] closes; the
// context ends after that; memberships end after the SessionFunc has returned; then comes [EventDisconnected], and then
// [Session.Done]. The events of one session are in the order in which they happened. Every wait of a close is bounded.
//
// Presence. The list that a [Topic.Watch] begins with and the changes after it add up to who is in the topic at any
// time: nobody is in it twice, nobody is missing.
//
// Clusters. With [WithBus] hubs are nodes of a cluster. These reach the sessions of all nodes: [Topic.Publish], and Send,
// Close and Leave of [Hub.Everyone], [Hub.User] and [Hub.To]. These tell of all nodes: [Topic.Count] and Everyone's Count at
// once, as of the last heartbeats; Count of User and To, and [Topic.Present], by asking, bounded by their context;
// [Topic.Watch]; [Hub.Nodes]. Everything else is this node's: limits, Len, Members, sessions, events, accounts, and each
// node's own histories, which have what was received while the node kept them. Except and Only take sessions of this node;
// what is published to Only a few does not leave it.
//
// Order between nodes: of what one node publishes to one topic, or to everyone, each session is sent what it is sent in
// the order of the publishes; nothing is sent twice. There is no order between what two nodes publish, nor, from another
// node, across topics: of publishes on two nodes at once, also of one key, each node may keep another as the last. Nodes
// have to agree about what a topic is, its type, codec and keys; what does not fit is counted as Invalid and skipped. A
// node gets a topic's values while it has a member, a stream or a history of it; the first join of
// a topic on a node returns once the bus listens, unless the bus is down or takes more than a second, and so whoever
// publishes after that, on any node, reaches the new member, if the bus loses nothing.
//
// A bus loses messages, most of all around the end of a connection, and does not say so. Each node numbers what it
// publishes to a topic and to everyone, and each receiver tells what is missing as [EventGap], before it hands on what
// comes after it, or about a second after the heartbeat that shows it. What a session or a user is sent directly is not
// numbered. While the bus is down every node goes on by itself: Publish delivers to its own sessions and returns nil, or
// fails with [ErrBus] under [RequireBus]; [Hub.Health] and [EventBus] tell; when the bus is back, subscriptions, counts
// and presence mend by themselves. A node that is not heard of for three of its heartbeats is gone with its sessions; one
// that shuts down says so.
//
// The bus is trusted unless [WithSigning] is given a key. What it brings is checked all the same: malformed, foreign and
// repeated messages are counted in [HubStats].Bus and skipped, and no text that is not UTF-8 reaches a client.
//
// Observers. What an [Observer] is told, [Hub.Events] tells and [Hub.Stats] counts is the same. Observers are called one
// event at a time, on a goroutine that nobody waits for.
//
// Admission. With [WithAdmission] a session that has neither a user nor a topic counts against [Limits] and is nowhere
// else: in no lookup, count, audience or event.
//
// Panics in user code are logged with the stack, and the process lives: one in a session's own functions closes it with
// 1011, one in a topic's fails the Publish with [ErrPanic], one before an upgrade answers 500.
//
// # Less formally
//
// What you publish first arrives first. Once you have joined you miss nothing, and once you have left you hear nothing.
// Every value is either sent or counted under the reason why it was not. Clients that keep reading get everything; for
// those that do not, the default is lossless or closed: after 1,024 values or 1 MiB, and 250 ms, a session is closed with
// 1013. Slices may be reused when the call has returned. When the hub drains or shuts down clients see 1001, not 1006.
// What a client said before it closed is handled and answered before the hub says goodbye, for 5 s at most.
package wshub
