/* SPDX-License-Identifier: Apache-2.0
 * Reads numbers and strings of a flat JSON object. The host has parsed and validated it, so this reader may be simple;
 * it never runs past the end, whatever it is given. A plugin with more than a few keys uses a JSON library. */
#include "plugins/null/null.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct cursor {
  const char* at;
  const char* end;
} cursor;

static void skip_space(cursor* c) {
  while (c->at < c->end && isspace((unsigned char)*c->at)) ++c->at;
}

/* Moves behind a string that starts here; its bytes between the quotes are [*begin, returned). */
static const char* skip_string(cursor* c, const char** begin) {
  *begin = ++c->at;
  while (c->at < c->end && *c->at != '"') c->at += *c->at == '\\' && c->at + 1 < c->end ? 2 : 1;
  const char* end = c->at < c->end ? c->at : c->end;
  if (c->at < c->end) ++c->at;
  return end;
}

/* Puts the cursor at the value of `key`, 0 when there is none. */
static int find_value(medgen_str_t config, const char* key, cursor* c) {
  *c = (cursor){config.ptr, config.ptr + config.len};
  while (c->at < c->end) {
    if (*c->at != '"') {
      ++c->at;
      continue;
    }
    const char* begin = NULL;
    const char* end = skip_string(c, &begin);
    skip_space(c);
    if (c->at == c->end || *c->at != ':') continue; /* a string that is a value */
    ++c->at;
    skip_space(c);
    if ((size_t)(end - begin) == strlen(key) && memcmp(begin, key, strlen(key)) == 0) return c->at < c->end;
  }
  return 0;
}

double null_config_number(medgen_str_t config, const char* key, double fallback) {
  cursor c;
  if (config.len == 0 || !find_value(config, key, &c)) return fallback;
  char digits[64];
  size_t n = 0;
  while (c.at < c.end && n + 1 < sizeof digits && strchr("+-.0123456789eE", *c.at) != NULL) digits[n++] = *c.at++;
  digits[n] = '\0';
  char* stop = NULL;
  const double value = strtod(digits, &stop);
  return stop == digits ? fallback : value;
}

void null_config_string(medgen_str_t config, const char* key, const char* fallback, char* out, uint64_t capacity) {
  const char* begin = fallback;
  const char* end = fallback + strlen(fallback);
  cursor c;
  if (config.len != 0 && find_value(config, key, &c) && *c.at == '"') end = skip_string(&c, &begin);
  const size_t length = (size_t)(end - begin) < capacity - 1 ? (size_t)(end - begin) : (size_t)(capacity - 1);
  memcpy(out, begin, length);
  out[length] = '\0';
}
