/* config_address.c - ADDR:PORT, taken apart; see config.h. */
#include "config_private.h"

#include <arpa/inet.h>
#include <string.h>

static bool get_port(const char *text, uint16_t *port)
{
	unsigned value = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 5)
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = 10 * value + (unsigned)(*text - '0');
	}
	*port = (uint16_t)value;
	return value <= 65535;
}

bool config_split_address(const char *text, char address[CONFIG_ADDRESS_MAX], uint16_t *port)
{
	const char *colon = strrchr(text, ':'), *start = text, *end = colon;
	unsigned char binary[16];
	int family = AF_INET;
	size_t len;

	if (colon == NULL) {
		memcpy(address, "127.0.0.1", sizeof "127.0.0.1");
		return get_port(text, port);
	}
	if (text[0] == '[') {
		if (colon[-1] != ']')
			return false;
		family = AF_INET6;
		start++;
		end--;
	}
	len = (size_t)(end - start);
	if (len >= CONFIG_ADDRESS_MAX)
		return false;
	memcpy(address, start, len);
	address[len] = '\0';
	return inet_pton(family, address, binary) == 1 && get_port(colon + 1, port);
}
