package client

// Done returns a channel that is closed once the connection is broken or closed: every further call will fail.
func (c *Client) Done() <-chan struct{} { return c.pipe.broken }
