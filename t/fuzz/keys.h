/*
 * Keys of the fuzz targets: always the same, so that a finding comes again.
 * They are of nobody and open nothing.
 */

#ifndef FUZZ_KEYS_H
#define FUZZ_KEYS_H


static const char  fz_rsa_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDs76jM/jb6mb/D\n"
    "/Y1bCDpovLFk9N7+m2ACZAaqCV6wKB2tWRtc9rveo/hKYn/6k8laHQB8FBqN5USl\n"
    "Uf25eM7NcGgqglnmXB5YZ53CUEUQP369CeU8ZK4gbBLh4t3Fr3OMhOuXopS4UcaC\n"
    "pSKPyypy6c8aJtsWwfzX4GIKTcsBvCEfvaGizbOtcZEPWmnF+q1I9kWOlw2zTmsq\n"
    "hC++QIBI+BhKnBZ+xBSZe3WOP9d5h/4ywUxAmg7LBXBpVi0w41mP9LVSjWIjTFSH\n"
    "JFtv+6YRGXhrwz+yD8HIKnODJnC2Uv/EOn3GvLqhj+debbLOZNuJqZ7weL1ZeWCT\n"
    "imZ5TiUbAgMBAAECggEAEaxkynmx7yp1x/BLUX2BIdvlXZL4aUR8umDssFVHl1s+\n"
    "r3YEmQAcjmRrulyzkCTi8ZJVPWwgePIflzdQ9jtBLcjTNEyJ2SmI5+4+scZcCHS8\n"
    "BuzMiR83b9qv4+KQyVSniVVG34Y0krUi2g7oT5KHhY/UL26zi/SHYDDwDzWzTVsu\n"
    "3WAdhRwTa0F50AxWPmP6SYEns7i/ondfr1Og4RSjcfJdY/3D1dPvId/1/GiYuq9s\n"
    "EwJ/WoipvZ7mC7sUEIvN/2VvpK6ZoH2qJjyNDaHwCfSK9v8TWfPRHlxLmG6B79Y8\n"
    "rhIDoN+1fnZegoA3VEeb5bh/LnoXbP/3KROJjomo4QKBgQD3D2F2JNbxo/OOPSdS\n"
    "uBp8JvA2iGnIzSn6vZ/YAr4Jv2Ht/zlOLhZmfZFUXZM1EVShDK75OcUyCA30SBwd\n"
    "GiGjNvk7zJpxJla4G0Fg9eOsZoZqbLmxOHiIQ4OfFFqsIEJEqGSRMMhRJZUm6meR\n"
    "EGmjcrm6NsP7jSG6hzJxu7lW+wKBgQD1gn8oNRAaO7ftHQZ7zEYDBiQN+7SzJe0G\n"
    "ryxWcEGT9rRxO/SVYfIZyYj+olxLg5t1HE0dRP2/SjMEssAb5C0dyicRnoySgwgr\n"
    "Bi2I9clw1bih/E/k/C/s68S1PGL17MBLBom39kSD+TK1TkFDkmof9PtrY/3rgR8p\n"
    "W7kJ+MWQYQKBgHaa1akICoA6uyPfy870PxK3Br7HQjF5/Ns4yVHED0NSs0q0KeiU\n"
    "S4Csa2Za/d6OEVi3ZBCVYUuhfkF1lLmL3/Yg4AmLMeF8DEmaHArWQJR1K7ZPt92S\n"
    "RJr1/mwSM21Kl0WqqYziJGiAaFgkU8/aVzx2SR9SR0et+zE20kqzWkidAoGBAN/R\n"
    "12Dtdz+jP9uwQW/tW8p397izxxonsj4MxwwKjQ56tCgjM6hYQeHWhMk3dZL2aWxL\n"
    "n9XWRsr0tyxKVa9XxvXIjPOYKqmLQZAPssWQ5dOzU/6BSskETCDfFFbxtXpkGy6K\n"
    "yFTo86+pKNx3ejJDMfLuYaOW5i+kaKdI0pnPrTUhAoGAIWpWPPKPXuYmYDiZU+06\n"
    "Fm4Q5Sa2abewkzyMflGPpra899k0lzPpOANVfPv2NxqPHqYE9EihEBkqXD5cA+JP\n"
    "JW+CSP/PyfSWLIt8XWdrWZPTToDijbr1fpMrUj2A1ntprsriSCanQ+V82QWXmjZm\n"
    "KlWTdH9bWgBNaQm1yI4o12c=\n"
    "-----END PRIVATE KEY-----\n";

static const char  fz_ec_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgeaBYZNQKSo72mrMp\n"
    "wKEy/p2f6Lc3YTYzV0IdEqtAD0+hRANCAAR41yAfBmxdQibRYePzid3wGZVGcJEj\n"
    "OecWfZ69St288vMAoCgvGL7wxnE0NSX1gRa61xcpOPViVA/LWoiRdvqm\n"
    "-----END PRIVATE KEY-----\n";

static const char  fz_ed_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIAF30dYwU4GqEcAfTIuvHPZI4eu1kBbyUy1gXzI9B9aj\n"
    "-----END PRIVATE KEY-----\n";


#endif /* FUZZ_KEYS_H */
