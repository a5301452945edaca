/* winograd_matrices.h - printed by scripts/make_winograd.py, which tells the
 * construction. WINOGRAD_<matrix>_<variant>, rows one after another. */

static const real WINOGRAD_A_4_3[24] = {
    1, 0, 0, 0,
    1, (real)3 / 4, (real)9 / 16, (real)27 / 64,
    1, (real)-3 / 4, (real)9 / 16, (real)-27 / 64,
    1, (real)3 / 2, (real)9 / 4, (real)27 / 8,
    1, (real)-3 / 2, (real)9 / 4, (real)-27 / 8,
    0, 0, 0, 1,
};

static const real WINOGRAD_G_4_3[18] = {
    (real)64 / 81, 0, 0,
    (real)-128 / 243, (real)-32 / 81, (real)-8 / 27,
    (real)-128 / 243, (real)32 / 81, (real)-8 / 27,
    (real)32 / 243, (real)16 / 81, (real)8 / 27,
    (real)32 / 243, (real)-16 / 81, (real)8 / 27,
    0, 0, 1,
};

static const real WINOGRAD_BT_4_3[36] = {
    (real)81 / 64, 0, (real)-45 / 16, 0, 1, 0,
    0, (real)-27 / 16, (real)-9 / 4, (real)3 / 4, 1, 0,
    0, (real)27 / 16, (real)-9 / 4, (real)-3 / 4, 1, 0,
    0, (real)-27 / 32, (real)-9 / 16, (real)3 / 2, 1, 0,
    0, (real)27 / 32, (real)-9 / 16, (real)-3 / 2, 1, 0,
    0, (real)81 / 64, 0, (real)-45 / 16, 0, 1,
};

static const real WINOGRAD_A_2_5[12] = {
    1, 0,
    1, (real)3 / 4,
    1, (real)-3 / 4,
    1, (real)3 / 2,
    1, (real)-3 / 2,
    0, 1,
};

static const real WINOGRAD_G_2_5[30] = {
    (real)64 / 81, 0, 0, 0, 0,
    (real)-128 / 243, (real)-32 / 81, (real)-8 / 27, (real)-2 / 9, (real)-1 / 6,
    (real)-128 / 243, (real)32 / 81, (real)-8 / 27, (real)2 / 9, (real)-1 / 6,
    (real)32 / 243, (real)16 / 81, (real)8 / 27, (real)4 / 9, (real)2 / 3,
    (real)32 / 243, (real)-16 / 81, (real)8 / 27, (real)-4 / 9, (real)2 / 3,
    0, 0, 0, 0, 1,
};

static const real WINOGRAD_BT_2_5[36] = {
    (real)81 / 64, 0, (real)-45 / 16, 0, 1, 0,
    0, (real)-27 / 16, (real)-9 / 4, (real)3 / 4, 1, 0,
    0, (real)27 / 16, (real)-9 / 4, (real)-3 / 4, 1, 0,
    0, (real)-27 / 32, (real)-9 / 16, (real)3 / 2, 1, 0,
    0, (real)27 / 32, (real)-9 / 16, (real)-3 / 2, 1, 0,
    0, (real)81 / 64, 0, (real)-45 / 16, 0, 1,
};

static const real WINOGRAD_A_6_3[48] = {
    1, 0, 0, 0, 0, 0,
    1, 1, 1, 1, 1, 1,
    1, -1, 1, -1, 1, -1,
    1, 2, 4, 8, 16, 32,
    1, -2, 4, -8, 16, -32,
    1, (real)1 / 2, (real)1 / 4, (real)1 / 8, (real)1 / 16, (real)1 / 32,
    1, (real)-1 / 2, (real)1 / 4, (real)-1 / 8, (real)1 / 16, (real)-1 / 32,
    0, 0, 0, 0, 0, 1,
};

static const real WINOGRAD_G_6_3[24] = {
    -1, 0, 0,
    (real)-2 / 9, (real)-2 / 9, (real)-2 / 9,
    (real)-2 / 9, (real)2 / 9, (real)-2 / 9,
    (real)1 / 90, (real)1 / 45, (real)2 / 45,
    (real)1 / 90, (real)-1 / 45, (real)2 / 45,
    (real)32 / 45, (real)16 / 45, (real)8 / 45,
    (real)32 / 45, (real)-16 / 45, (real)8 / 45,
    0, 0, 1,
};

static const real WINOGRAD_BT_6_3[64] = {
    -1, 0, (real)21 / 4, 0, (real)-21 / 4, 0, 1, 0,
    0, 1, 1, (real)-17 / 4, (real)-17 / 4, 1, 1, 0,
    0, -1, 1, (real)17 / 4, (real)-17 / 4, -1, 1, 0,
    0, (real)1 / 2, (real)1 / 4, (real)-5 / 2, (real)-5 / 4, 2, 1, 0,
    0, (real)-1 / 2, (real)1 / 4, (real)5 / 2, (real)-5 / 4, -2, 1, 0,
    0, 2, 4, (real)-5 / 2, -5, (real)1 / 2, 1, 0,
    0, -2, 4, (real)5 / 2, -5, (real)-1 / 2, 1, 0,
    0, -1, 0, (real)21 / 4, 0, (real)-21 / 4, 0, 1,
};

static const real WINOGRAD_A_4_5[32] = {
    1, 0, 0, 0,
    1, 1, 1, 1,
    1, -1, 1, -1,
    1, 2, 4, 8,
    1, -2, 4, -8,
    1, (real)1 / 2, (real)1 / 4, (real)1 / 8,
    1, (real)-1 / 2, (real)1 / 4, (real)-1 / 8,
    0, 0, 0, 1,
};

static const real WINOGRAD_G_4_5[40] = {
    -1, 0, 0, 0, 0,
    (real)-2 / 9, (real)-2 / 9, (real)-2 / 9, (real)-2 / 9, (real)-2 / 9,
    (real)-2 / 9, (real)2 / 9, (real)-2 / 9, (real)2 / 9, (real)-2 / 9,
    (real)1 / 90, (real)1 / 45, (real)2 / 45, (real)4 / 45, (real)8 / 45,
    (real)1 / 90, (real)-1 / 45, (real)2 / 45, (real)-4 / 45, (real)8 / 45,
    (real)32 / 45, (real)16 / 45, (real)8 / 45, (real)4 / 45, (real)2 / 45,
    (real)32 / 45, (real)-16 / 45, (real)8 / 45, (real)-4 / 45, (real)2 / 45,
    0, 0, 0, 0, 1,
};

static const real WINOGRAD_BT_4_5[64] = {
    -1, 0, (real)21 / 4, 0, (real)-21 / 4, 0, 1, 0,
    0, 1, 1, (real)-17 / 4, (real)-17 / 4, 1, 1, 0,
    0, -1, 1, (real)17 / 4, (real)-17 / 4, -1, 1, 0,
    0, (real)1 / 2, (real)1 / 4, (real)-5 / 2, (real)-5 / 4, 2, 1, 0,
    0, (real)-1 / 2, (real)1 / 4, (real)5 / 2, (real)-5 / 4, -2, 1, 0,
    0, 2, 4, (real)-5 / 2, -5, (real)1 / 2, 1, 0,
    0, -2, 4, (real)5 / 2, -5, (real)-1 / 2, 1, 0,
    0, -1, 0, (real)21 / 4, 0, (real)-21 / 4, 0, 1,
};

static const real WINOGRAD_A_4_7[40] = {
    1, 0, 0, 0,
    1, (real)1 / 2, (real)1 / 4, (real)1 / 8,
    1, (real)-1 / 2, (real)1 / 4, (real)-1 / 8,
    1, 2, 4, 8,
    1, -2, 4, -8,
    1, (real)3 / 4, (real)9 / 16, (real)27 / 64,
    1, (real)-3 / 4, (real)9 / 16, (real)-27 / 64,
    1, (real)4 / 3, (real)16 / 9, (real)64 / 27,
    1, (real)-4 / 3, (real)16 / 9, (real)-64 / 27,
    0, 0, 0, 1,
};

static const real WINOGRAD_G_4_7[70] = {
    1, 0, 0, 0, 0, 0, 0,
    (real)-1536 / 1375, (real)-768 / 1375, (real)-384 / 1375, (real)-192 / 1375, (real)-96 / 1375, (real)-48 / 1375, (real)-24 / 1375,
    (real)-1536 / 1375, (real)768 / 1375, (real)-384 / 1375, (real)192 / 1375, (real)-96 / 1375, (real)48 / 1375, (real)-24 / 1375,
    (real)6 / 1375, (real)12 / 1375, (real)24 / 1375, (real)48 / 1375, (real)96 / 1375, (real)192 / 1375, (real)384 / 1375,
    (real)6 / 1375, (real)-12 / 1375, (real)24 / 1375, (real)-48 / 1375, (real)96 / 1375, (real)-192 / 1375, (real)384 / 1375,
    (real)32768 / 48125, (real)24576 / 48125, (real)18432 / 48125, (real)13824 / 48125, (real)10368 / 48125, (real)7776 / 48125, (real)5832 / 48125,
    (real)32768 / 48125, (real)-24576 / 48125, (real)18432 / 48125, (real)-13824 / 48125, (real)10368 / 48125, (real)-7776 / 48125, (real)5832 / 48125,
    (real)-6561 / 96250, (real)-4374 / 48125, (real)-5832 / 48125, (real)-7776 / 48125, (real)-10368 / 48125, (real)-13824 / 48125, (real)-18432 / 48125,
    (real)-6561 / 96250, (real)4374 / 48125, (real)-5832 / 48125, (real)7776 / 48125, (real)-10368 / 48125, (real)13824 / 48125, (real)-18432 / 48125,
    0, 0, 0, 0, 0, 0, 1,
};

static const real WINOGRAD_BT_4_7[100] = {
    1, 0, (real)-949 / 144, 0, (real)6881 / 576, 0, (real)-949 / 144, 0, 1, 0,
    0, -2, -4, (real)373 / 72, (real)373 / 36, (real)-913 / 288, (real)-913 / 144, (real)1 / 2, 1, 0,
    0, 2, -4, (real)-373 / 72, (real)373 / 36, (real)913 / 288, (real)-913 / 144, (real)-1 / 2, 1, 0,
    0, (real)-1 / 2, (real)-1 / 4, (real)913 / 288, (real)913 / 576, (real)-373 / 72, (real)-373 / 144, 2, 1, 0,
    0, (real)1 / 2, (real)-1 / 4, (real)-913 / 288, (real)913 / 576, (real)373 / 72, (real)-373 / 144, -2, 1, 0,
    0, (real)-4 / 3, (real)-16 / 9, (real)77 / 12, (real)77 / 9, (real)-217 / 48, (real)-217 / 36, (real)3 / 4, 1, 0,
    0, (real)4 / 3, (real)-16 / 9, (real)-77 / 12, (real)77 / 9, (real)217 / 48, (real)-217 / 36, (real)-3 / 4, 1, 0,
    0, (real)-3 / 4, (real)-9 / 16, (real)217 / 48, (real)217 / 64, (real)-77 / 12, (real)-77 / 16, (real)4 / 3, 1, 0,
    0, (real)3 / 4, (real)-9 / 16, (real)-217 / 48, (real)217 / 64, (real)77 / 12, (real)-77 / 16, (real)-4 / 3, 1, 0,
    0, 1, 0, (real)-949 / 144, 0, (real)6881 / 576, 0, (real)-949 / 144, 0, 1,
};

static const real WINOGRAD_A_S2[36] = {
    0, 0, 0, 1,
    1, (real)1 / 2, (real)1 / 4, (real)1 / 8,
    1, (real)-1 / 2, (real)1 / 4, (real)-1 / 8,
    1, (real)3 / 2, (real)9 / 4, (real)27 / 8,
    1, (real)-3 / 2, (real)9 / 4, (real)-27 / 8,
    1, 0, 0, 0,
    0, 1, 0, 0,
    0, 0, 1, 0,
    0, 0, 0, 1,
};

static const real WINOGRAD_G_S2[18] = {
    0, 0, 1,
    (real)-1 / 2, 0, (real)-1 / 4,
    (real)1 / 2, 0, (real)-1 / 4,
    (real)1 / 6, 0, (real)1 / 4,
    (real)-1 / 6, 0, (real)1 / 4,
    0, 1, 0,
};

static const real WINOGRAD_BT_S2[81] = {
    (real)9 / 16, 0, 0, 0, (real)-5 / 2, 0, 0, 0, 1,
    (real)-9 / 8, 0, (real)-9 / 4, 0, (real)1 / 2, 0, 1, 0, 0,
    (real)9 / 8, 0, (real)-9 / 4, 0, (real)-1 / 2, 0, 1, 0, 0,
    (real)-3 / 8, 0, (real)-1 / 4, 0, (real)3 / 2, 0, 1, 0, 0,
    (real)3 / 8, 0, (real)-1 / 4, 0, (real)-3 / 2, 0, 1, 0, 0,
    0, 1, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 1, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 1, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 1, 0,
};

static const real WINOGRAD_A_S2T[72] = {
    0, 0, 0, 0, 0, 0, 0, 1,
    0, 1, 0, (real)1 / 2, 0, (real)1 / 4, 0, (real)1 / 8,
    0, 1, 0, (real)-1 / 2, 0, (real)1 / 4, 0, (real)-1 / 8,
    0, 1, 0, (real)3 / 2, 0, (real)9 / 4, 0, (real)27 / 8,
    0, 1, 0, (real)-3 / 2, 0, (real)9 / 4, 0, (real)-27 / 8,
    1, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 1, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 1, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 1, 0,
};

static const real WINOGRAD_BT_S2T[45] = {
    (real)9 / 16, 0, (real)-5 / 2, 0, 1,
    (real)-9 / 8, (real)-9 / 4, (real)1 / 2, 1, 0,
    (real)9 / 8, (real)-9 / 4, (real)-1 / 2, 1, 0,
    (real)-3 / 8, (real)-1 / 4, (real)3 / 2, 1, 0,
    (real)3 / 8, (real)-1 / 4, (real)-3 / 2, 1, 0,
    1, 0, 0, 0, 0,
    0, 1, 0, 0, 0,
    0, 0, 1, 0, 0,
    0, 0, 0, 1, 0,
};

static const real WINOGRAD_A_S4[40] = {
    0, 0, 0, 1,
    1, (real)1 / 2, (real)1 / 4, (real)1 / 8,
    1, (real)-1 / 2, (real)1 / 4, (real)-1 / 8,
    1, (real)3 / 2, (real)9 / 4, (real)27 / 8,
    1, (real)-3 / 2, (real)9 / 4, (real)-27 / 8,
    1, (real)1 / 2, (real)1 / 4, (real)1 / 8,
    1, (real)-1 / 2, (real)1 / 4, (real)-1 / 8,
    1, (real)3 / 2, (real)9 / 4, (real)27 / 8,
    1, (real)-3 / 2, (real)9 / 4, (real)-27 / 8,
    0, 0, 0, 1,
};

static const real WINOGRAD_G_S4[40] = {
    0, 0, 1, 0,
    (real)-1 / 2, 0, (real)-1 / 4, 0,
    (real)1 / 2, 0, (real)-1 / 4, 0,
    (real)1 / 6, 0, (real)1 / 4, 0,
    (real)-1 / 6, 0, (real)1 / 4, 0,
    0, (real)-1 / 2, 0, (real)-1 / 4,
    0, (real)1 / 2, 0, (real)-1 / 4,
    0, (real)1 / 6, 0, (real)1 / 4,
    0, (real)-1 / 6, 0, (real)1 / 4,
    0, 0, 0, 1,
};

static const real WINOGRAD_BT_S4[100] = {
    (real)9 / 16, 0, 0, 0, (real)-5 / 2, 0, 0, 0, 1, 0,
    (real)-9 / 8, 0, (real)-9 / 4, 0, (real)1 / 2, 0, 1, 0, 0, 0,
    (real)9 / 8, 0, (real)-9 / 4, 0, (real)-1 / 2, 0, 1, 0, 0, 0,
    (real)-3 / 8, 0, (real)-1 / 4, 0, (real)3 / 2, 0, 1, 0, 0, 0,
    (real)3 / 8, 0, (real)-1 / 4, 0, (real)-3 / 2, 0, 1, 0, 0, 0,
    0, (real)-9 / 8, 0, (real)-9 / 4, 0, (real)1 / 2, 0, 1, 0, 0,
    0, (real)9 / 8, 0, (real)-9 / 4, 0, (real)-1 / 2, 0, 1, 0, 0,
    0, (real)-3 / 8, 0, (real)-1 / 4, 0, (real)3 / 2, 0, 1, 0, 0,
    0, (real)3 / 8, 0, (real)-1 / 4, 0, (real)-3 / 2, 0, 1, 0, 0,
    0, (real)9 / 16, 0, 0, 0, (real)-5 / 2, 0, 0, 0, 1,
};

static const real WINOGRAD_A_S4T[80] = {
    0, 0, 0, 0, 0, 0, 1, 0,
    1, 0, (real)1 / 2, 0, (real)1 / 4, 0, (real)1 / 8, 0,
    1, 0, (real)-1 / 2, 0, (real)1 / 4, 0, (real)-1 / 8, 0,
    1, 0, (real)3 / 2, 0, (real)9 / 4, 0, (real)27 / 8, 0,
    1, 0, (real)-3 / 2, 0, (real)9 / 4, 0, (real)-27 / 8, 0,
    0, 1, 0, (real)1 / 2, 0, (real)1 / 4, 0, (real)1 / 8,
    0, 1, 0, (real)-1 / 2, 0, (real)1 / 4, 0, (real)-1 / 8,
    0, 1, 0, (real)3 / 2, 0, (real)9 / 4, 0, (real)27 / 8,
    0, 1, 0, (real)-3 / 2, 0, (real)9 / 4, 0, (real)-27 / 8,
    0, 0, 0, 0, 0, 0, 0, 1,
};

static const real WINOGRAD_BT_S4T[60] = {
    (real)9 / 16, 0, (real)-5 / 2, 0, 1, 0,
    (real)-9 / 8, (real)-9 / 4, (real)1 / 2, 1, 0, 0,
    (real)9 / 8, (real)-9 / 4, (real)-1 / 2, 1, 0, 0,
    (real)-3 / 8, (real)-1 / 4, (real)3 / 2, 1, 0, 0,
    (real)3 / 8, (real)-1 / 4, (real)-3 / 2, 1, 0, 0,
    0, (real)-9 / 8, (real)-9 / 4, (real)1 / 2, 1, 0,
    0, (real)9 / 8, (real)-9 / 4, (real)-1 / 2, 1, 0,
    0, (real)-3 / 8, (real)-1 / 4, (real)3 / 2, 1, 0,
    0, (real)3 / 8, (real)-1 / 4, (real)-3 / 2, 1, 0,
    0, (real)9 / 16, 0, (real)-5 / 2, 0, 1,
};
